"""Who may send, how many at a time, and whether there is room."""

import threading
from collections import Counter
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from os import statvfs
from pathlib import Path

from dicom_node.receive.status import RefusedError, StoreStatus
from dicom_node.settings import Sender
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
    """Counts established associations; what is only connected does not count."""

    def __init__(self, maximum: int, maximum_per_address: int) -> None:
        self._maximum = maximum
        self._maximum_per_address = maximum_per_address
        self._hosts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, host: str) -> bool:
        """Count one more association from an address; False where that would be too many."""
        with self._lock:
            if self._hosts.total() >= self._maximum or self._hosts[host] >= self._maximum_per_address:
                return False
            self._hosts[host] += 1
            return True

    def leave(self, host: str) -> None:
        """Count one association less."""
        with self._lock:
            self._hosts[host] -= 1
            if not self._hosts[host]:
                del self._hosts[host]


class DiskWatermark:
    """Refuses objects while the disk is nearly full, so that the database and the results still have room."""

    def __init__(self, folder: Path, minimum_free_bytes: float) -> None:
        self._folder = folder
        self._minimum_free_bytes = minimum_free_bytes

    def check(self) -> None:
        """Raise RefusedError where less is free than must be."""
        disk = statvfs(self._folder)
        if disk.f_bavail * disk.f_frsize < self._minimum_free_bytes:
            raise RefusedError(StoreStatus.OUT_OF_RESOURCES, "the disk is nearly full")
