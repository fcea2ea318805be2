"""Who may send, how many at a time, and whether there is room."""

import fcntl
import hashlib
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path

from dicom_node.durable import PRIVATE_FILE
from dicom_node.receive.status import RefusedError, StoreStatus
from dicom_node.settings import MOST_ASSOCIATIONS, Sender
from dicom_node.tls import PeerCertificate


class SenderList:
    """The application entities that may send: each by its title, its networks and its certificate, as configured."""

    def __init__(self, senders: Sequence[Sender]) -> None:
        self._senders = tuple(senders)

    def may_connect(self, host: str) -> bool:
        """Tell whether any sender may come from an address: others are not worth an answer."""
        return any(_may_come_from(sender, host) for sender in self._senders)

    def may_send(self, ae_title: str, host: str, certificate: PeerCertificate | None = None) -> bool:
        """Tell whether this calling AE title may come from that address, with that certificate (None: without TLS)."""
        return any(
            sender.ae_title == ae_title and _may_come_from(sender, host) and _may_show(sender, certificate)
            for sender in self._senders
        )


def comes_from_here(connection: socket.socket | None) -> bool:
    """Tell whether the peer is a process of this machine: only then do both ends have one address."""
    try:
        return connection is not None and connection.getpeername()[0] == connection.getsockname()[0]
    except OSError:  # the peer is gone
        return False


def _may_come_from(sender: Sender, host: str) -> bool:
    return not sender.networks or _is_in(host, sender.networks)


def _may_show(sender: Sender, certificate: PeerCertificate | None) -> bool:
    return not sender.certificate or (certificate is not None and certificate.is_named(sender.certificate))


def _is_in(host: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(_contains(network, address) for network in networks)


def _contains(network: IPv4Network | IPv6Network, address: IPv4Address | IPv6Address) -> bool:
    return network.version == address.version and address in network


class AssociationLimit:
    """Counts established associations of all receiver processes of a node; what is only connected does not count.

    Each takes two places, one among all and one among those of its address: bytes of a file that the processes lock.
    Whatever way a process ends, the kernel gives its places back. One process must not count twice on the same file.
    """

    def __init__(self, file: Path, maximum: int, maximum_per_address: int) -> None:
        self._maximum = maximum
        self._maximum_per_address = maximum_per_address
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        self._taken: set[int] = set()
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._lock = threading.Lock()

    def enter(self, host: str) -> bool:
        """Count one more association from an address; False where that would be too many."""
        with self._lock:
            among_all = self._take(0, self._maximum)
            if among_all is None:
                return False
            of_address = self._take(_first_place(host), self._maximum_per_address)
            if of_address is None:
                self._give_back(among_all)
                return False
            self._places[host].append((among_all, of_address))
            return True

    def leave(self, host: str) -> None:
        """Count one association less."""
        with self._lock:
            for place in self._places[host].pop():
                self._give_back(place)
            if not self._places[host]:
                del self._places[host]

    def close(self) -> None:
        """Give all places back, and count no more."""
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1

    def _take(self, first: int, count: int) -> int | None:
        for place in range(first, first + count):
            if place not in self._taken and self._try_to_lock(place):
                self._taken.add(place)
                return place
        return None

    def _try_to_lock(self, place: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:  # another process has it
            return False
        return True

    def _give_back(self, place: int) -> None:
        self._taken.discard(place)
        if self._descriptor >= 0:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)


def _first_place(host: str) -> int:
    """Say where the places of an address begin: so far apart that two addresses never share one."""
    number = int.from_bytes(hashlib.sha256(host.encode()).digest()[:5], "big")
    return (1 + number) * MOST_ASSOCIATIONS


class DiskWatermark:
    """Refuses objects while the disk is nearly full, so that the database and the results still have room."""

    def __init__(self, folder: Path, minimum_free_bytes: float) -> None:
        self._folder = folder
        self._minimum_free_bytes = minimum_free_bytes

    def check(self) -> None:
        """Raise RefusedError where less is free than must be."""
        disk = os.statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < self._minimum_free_bytes:
            raise RefusedError(StoreStatus.OUT_OF_RESOURCES, "the disk is nearly full")
