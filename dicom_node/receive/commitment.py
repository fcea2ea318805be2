"""Storage commitment reports that archives send on associations of their own (PS3.4 J.3.3)."""

import logging
import socket
import threading
from collections.abc import Iterator, Sequence
from io import BytesIO
from ipaddress import ip_address

from pydicom.uid import UID
from pynetdicom.dsutils import decode

from dicom_node.errors import describe_failure, describe_unforeseen
from dicom_node.header import tolerate
from dicom_node.receive.status import ReportStatus
from dicom_node.settings import Archive, Destination, Proof
from dicom_node.storage_commitment import FAILURES_EXIST, SUCCESSFUL, read_report
from dicom_node.store import Store

_LOGGER = logging.getLogger("dicom_node.receive")

_LARGEST_REPORT = 1024 * 1024
"""Bytes of the longest report that is read: several thousand objects."""


_LOOK_UP_S = 60.0
"""How often the names of hosts are looked up."""
_FIRST_LOOK_UP_S = 1.0
"""How long a start waits for that at most."""


class Reporters:
    """The archives that may be asked for storage commitment, and so may report.

    Names of hosts are looked up in a thread, again and again: a name may get another address, and no connection is to
    wait for a name server.
    """

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self._destinations = tuple(one for one in destinations if one.commitment is not Proof.NEVER)
        hosts = {peer.host for one in self._destinations for peer in _peers(one)}
        self._addresses: dict[str, frozenset[str] | None] = {
            host: _write_both_ways({host}) if _is_address(host) else None for host in hosts
        }
        self._stop, self._known = threading.Event(), threading.Event()

    def follow_names(self) -> None:
        """Begin to look up names; not in a process that forks."""
        if None in self._addresses.values():
            threading.Thread(target=self._follow, name="names of archives", daemon=True).start()
            self._known.wait(_FIRST_LOOK_UP_S)

    def stop(self) -> None:
        """Look up no more."""
        self._stop.set()

    def may_connect(self, host: str) -> bool:
        """Tell whether a report may come from an address: from any, as long as a name was not looked up."""
        return any(addresses is None or host in addresses for addresses in self._addresses.values())

    def may_report(self, ae_title: str, host: str) -> bool:
        """Tell whether this calling AE title may report, from the address that it is sent to."""
        peers = (peer for one in self._destinations for peer in _peers(one) if peer.ae_title == ae_title)
        return any(host in (self._addresses[peer.host] or ()) for peer in peers)

    def _follow(self) -> None:
        names = [host for host, addresses in self._addresses.items() if addresses is None]
        without: set[str] = set()
        while not self._stop.is_set():
            for name in names:
                self._look_up(name, without)
            self._known.set()
            self._stop.wait(_LOOK_UP_S)

    def _look_up(self, name: str, without: set[str]) -> None:
        """Look up a name; it keeps the addresses it had where that fails, for then the name server is away."""
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:  # ValueError: it is no name
            if name not in without:
                _LOGGER.warning("%s has no address now: reports may be refused: %s", name, describe_failure(error))
            without.add(name)
            self._addresses[name] = self._addresses[name] or frozenset()
        else:
            without.discard(name)
            self._addresses[name] = _write_both_ways({str(address[0]) for _, _, _, _, address in found})

    def names(self, ae_title: str) -> tuple[str, ...]:
        """Return the names of the destinations that this AE title may report for."""
        return tuple(one.name for one in self._destinations if any(peer.ae_title == ae_title for peer in _peers(one)))

    @property
    def ae_titles(self) -> frozenset[str]:
        """AE titles of all that may report."""
        return frozenset(peer.ae_title for one in self._destinations for peer in _peers(one))


def _peers(destination: Destination) -> Iterator[Archive]:
    """List who may report on what a destination was sent: who was asked, and who was sent it."""
    yield destination
    if destination.commitment_at is not None:
        yield destination.commitment_at


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _write_both_ways(addresses: set[str]) -> frozenset[str]:
    """Add what a socket for both families calls an address of the older one."""
    return frozenset(addresses | {f"::ffff:{address}" for address in addresses if ":" not in address})


class IncomingReport:
    """Takes the event information of an N-EVENT-REPORT as it arrives."""

    def __init__(self, store: Store, destinations: Sequence[str], transfer_syntax: UID, event_type: int) -> None:
        self._store = store
        self._destinations = destinations
        self._transfer_syntax = transfer_syntax
        self._event_type = event_type
        self._content = bytearray()

    def write(self, fragment: memoryview) -> None:
        """Take the next fragment; what is too long is dropped as it comes."""
        if len(self._content) <= _LARGEST_REPORT:
            self._content += fragment

    def discard(self) -> None:
        """Forget what has come."""
        self._content.clear()

    def finish(self) -> ReportStatus:
        """Record what it says; Success means that it is durable."""
        if self._event_type not in {SUCCESSFUL, FAILURES_EXIST}:
            return ReportStatus.NO_SUCH_EVENT_TYPE
        if len(self._content) > _LARGEST_REPORT:
            return ReportStatus.PROCESSING_FAILURE
        try:
            known = self._take()
        except Exception as error:  # noqa: BLE001 - the edge of the handler: foreign bytes, or a database that is locked
            _LOGGER.error("a storage commitment report was not taken: %s", describe_unforeseen(error))  # noqa: TRY400 - no texts of exceptions in logs
            return ReportStatus.PROCESSING_FAILURE
        if not known:
            _LOGGER.warning("a storage commitment report for no transaction of %s", ", ".join(self._destinations))
            return ReportStatus.PROCESSING_FAILURE
        return ReportStatus.SUCCESS

    def _take(self) -> bool:
        syntax = self._transfer_syntax
        ds = decode(BytesIO(bytes(self._content)), syntax.is_implicit_VR, syntax.is_little_endian)
        with tolerate():
            report = read_report(ds)
        return self._store.take_report(self._destinations, report)
