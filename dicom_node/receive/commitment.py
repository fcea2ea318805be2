"""Storage commitment reports that archives send on associations of their own (PS3.4 J.3.3)."""

import logging
import socket
from collections.abc import Sequence
from io import BytesIO

from pydicom.uid import UID
from pynetdicom.dsutils import decode

from dicom_node.errors import describe_unforeseen
from dicom_node.header import tolerate
from dicom_node.receive.status import ReportStatus
from dicom_node.settings import Destination, Proof
from dicom_node.storage_commitment import FAILURES_EXIST, SUCCESSFUL, read_report
from dicom_node.store import Store

_LOGGER = logging.getLogger("dicom_node.receive")

_LARGEST_REPORT = 1024 * 1024
"""Bytes of the longest report that is read: several thousand objects."""


class Reporters:
    """The archives that may be asked for storage commitment, and so may report."""

    def __init__(self, destinations: Sequence[Destination]) -> None:
        self._destinations = tuple(one for one in destinations if one.commitment is not Proof.NEVER)
        self._addresses = {one.name: _resolve(one.host) for one in self._destinations}

    def may_connect(self, host: str) -> bool:
        """Tell whether a report may come from an address."""
        return any(host in addresses for addresses in self._addresses.values())

    def may_report(self, ae_title: str, host: str) -> bool:
        """Tell whether this calling AE title may report, from the address that it is sent to."""
        return any(host in self._addresses[one.name] for one in self._destinations if one.ae_title == ae_title)

    def names(self, ae_title: str) -> tuple[str, ...]:
        """Return the names of the destinations that have this AE title."""
        return tuple(one.name for one in self._destinations if one.ae_title == ae_title)


def _resolve(host: str) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        _LOGGER.warning("%s has no address: reports are taken from it only as a sender: %s", host, error.strerror)
        return frozenset()
    addresses = {str(address[0]) for _, _, _, _, address in found}
    # What a socket for both families calls an address of the older one.
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
