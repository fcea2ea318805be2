"""The Storage and Verification SCP of the node."""

import gc
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any, Self

from pynetdicom import AE, _config

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.errors import ConfigurationError
from dicom_node.processes import install_stop_signals
from dicom_node.receive.accepted import AcceptedAssociation
from dicom_node.receive.admission import AssociationLimit, DiskWatermark, SenderList
from dicom_node.receive.archive import Archive
from dicom_node.receive.commitment import Reporters
from dicom_node.receive.dispatcher import READY, Dispatcher
from dicom_node.receive.handed import HandedListener
from dicom_node.receive.listener import BACKLOG, Listener
from dicom_node.receive.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.receive.presentation import build_contexts
from dicom_node.receive.recovery import keep_rebuilding_rows, rebuild_rows
from dicom_node.receive.registry import Registry
from dicom_node.receive.spool import Spool
from dicom_node.settings import Settings
from dicom_node.store import Store
from dicom_node.tls import ServerTLS
from dicom_node.upper_layer.connection import PDULimits

_LOGGER = logging.getLogger("dicom_node.receive")

# pynetdicom's own handlers format every message for its log, identifiers of patients included.
_config.LOG_HANDLER_LEVEL = "none"

_IDLE_S = 1.0
"""An association that has been silent for so long has nothing in flight."""


class Receiver:
    """A listening receiver in this process: `with start_receiver(settings) as receiver`."""

    def __init__(self, listener: Listener, grace_s: float) -> None:
        self._listener = listener
        self.archive = listener.archive
        self._grace_s = grace_s
        self._thread = threading.Thread(target=listener.serve_forever, args=(0.1,), name="listener", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """TCP port that is listened on."""
        return int(self._listener.server_address[1])

    @property
    def connections(self) -> list[AcceptedAssociation]:
        """Connections that are open, with an association or without."""
        return self._listener.connections

    def stop(self, grace_s: float | None = None) -> None:
        """Stop accepting, let objects in flight finish within the grace period, then break what is left."""
        if not self._thread.is_alive():
            return
        self._listener.shutdown()
        end = time.monotonic() + (self._grace_s if grace_s is None else grace_s)
        while (open_ones := self._listener.connections) and time.monotonic() < end:
            for assoc in open_ones:
                if not assoc.is_established or assoc.dul.idle_s > _IDLE_S:
                    assoc.disconnect()
            time.sleep(0.05)
        for assoc in self._listener.connections:
            assoc.disconnect()
        for assoc in self._listener.connections:
            assoc.join(_IDLE_S)
        self._listener.association_limit.close()
        self.archive.reporters.stop()
        self.archive.registry.close()
        self.archive.store.close()

    def __enter__(self) -> Self:
        """Return the running receiver."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drain and stop."""
        self.stop()


def start_receiver(settings: Settings, *, channel: socket.socket | None = None) -> Receiver:
    """Receive in threads of this process: on the configured host and port (0: a free one), or through a channel."""
    archive = _open_archive(settings)
    archive.reporters.follow_names()
    limits = settings.receive
    options: dict[str, Any] = {
        "archive": archive,
        "limits": PDULimits(maximum_pdu_bytes=limits.maximum_pdu_bytes, deadline_s=limits.pdu_deadline_s),
        "senders": SenderList(settings.senders),
        "association_limit": AssociationLimit(
            archive.spool.folder / ".associations.lock",
            limits.maximum_associations,
            limits.maximum_associations_per_address,
        ),
        "tls": _open_tls(settings),
    }
    ae = build_ae(settings)
    address = (settings.node.host, settings.node.port)
    if channel is not None:
        return Receiver(HandedListener(ae, address, channel, **options), settings.node.grace_s)
    archive.spool.remove_incoming()
    rebuild_rows(archive)
    return Receiver(Listener(ae, address, **options), settings.node.grace_s)


def _open_tls(settings: Settings) -> ServerTLS | None:
    return ServerTLS(settings.tls) if settings.tls is not None and settings.has_incoming_tls else None


def _open_archive(settings: Settings) -> Archive:
    spool = Spool(settings.node.spool_dir)
    store = Store(settings.database_url)
    return Archive(
        spool=spool,
        store=store,
        registry=Registry(store, spool.folder),
        watermark=DiskWatermark(spool.folder, settings.receive.minimum_free_mb * 1e6),
        maximum_object_bytes=int(settings.receive.maximum_object_mb * 1e6),
        trail=AuditTrail(settings.node.audit_dir, settings.node.ae_title),
        reporters=Reporters(settings.destinations),
    )


def build_ae(settings: Settings) -> AE:
    """Build the application entity: title, accepted contexts, time-outs."""
    ae = AE(settings.node.ae_title)
    ae.supported_contexts = build_contexts()
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.require_called_aet = True
    senders = {sender.ae_title for sender in settings.senders}
    destinations = {destination.ae_title for destination in settings.destinations}
    itself = {settings.node.ae_title}
    ae.require_calling_aet = sorted(senders | destinations | Reporters(settings.destinations).ae_titles | itself)
    # pynetdicom would count connections; the listener counts associations.
    ae.maximum_associations = 1_000_000
    ae.maximum_pdu_size = settings.receive.maximum_pdu_bytes
    ae.acse_timeout = settings.receive.acse_timeout_s
    ae.dimse_timeout = settings.receive.dimse_timeout_s
    ae.network_timeout = settings.receive.network_timeout_s
    return ae


def run_receiver(settings: Settings) -> int:
    """Receive in processes of its own until SIGTERM or SIGINT, then drain; returns the exit code.

    Raises
    ------
    ConfigurationError
        Where the configured address cannot be listened on, the files of `[tls]` cannot be used, or the database is of a
        later release.
    """
    stop = install_stop_signals()
    tls = _open_tls(settings)
    Store(settings.database_url).close()  # refused here, it is one sentence, not one of each process
    listening = _listen(settings)
    spool = Spool(settings.node.spool_dir)
    spool.remove_incoming()
    port = listening.getsockname()[1]
    cores = sorted(os.sched_getaffinity(0)) if settings.receive.pin_to_cores else []
    senders, reporters = SenderList(settings.senders), Reporters(settings.destinations)
    trail = AuditTrail(settings.node.audit_dir, settings.node.ae_title)

    # It forks, so it looks up no names in a thread: what may come from one is left to the processes that serve.
    def may_connect(host: str, is_from_here: bool) -> bool:
        is_known = is_from_here or senders.may_connect(host) or reporters.may_connect(host)
        if not is_known:
            trail.alert(AuditEvent.CONNECTION_REFUSED, host=host, reason="no sender has this address")
        return is_known

    dispatcher = Dispatcher(
        listening,
        settings.receive.processes,
        serve=lambda index, again, channel: _serve(settings, index, again, cores, channel),
        may_connect=may_connect,
        clean_up=spool.remove_incoming,
    )

    def announce() -> None:
        how = " over TLS" if tls else ""
        _LOGGER.info("receiving as %s on %s port %d%s", settings.node.ae_title, settings.node.host, port, how)

    dispatcher.run(stop, announce, settings.node.grace_s + 2)
    return 0


def _listen(settings: Settings) -> socket.socket:
    host, port = settings.node.host, settings.node.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        reason = error.strerror
        raise ConfigurationError(f"table [node], keys 'host' and 'port': {host} port {port}: {reason}") from error


def _serve(settings: Settings, index: int, again: bool, cores: Sequence[int], channel: socket.socket) -> None:
    """Be one of several receiver processes, until SIGTERM."""
    stop = install_stop_signals()
    if cores:
        # Threads of one interpreter on several cores spend their time handing the interpreter lock around.
        os.sched_setaffinity(0, {cores[index % len(cores)]})
    # pydicom warns of bad values by quoting them; what a sender sends has no place in a log.
    warnings.simplefilter("ignore", UserWarning)
    # What is there now stays: collections need not look at it again.
    gc.freeze()
    with start_receiver(settings, channel=channel) as receiver:
        channel.send(READY)
        if index == 0 or again:
            recovery = (receiver.archive, stop)
            threading.Thread(target=keep_rebuilding_rows, args=recovery, name="recovery", daemon=True).start()
        while not stop.wait(0.5):
            pass
