"""The Storage and Verification SCP of the node."""

import logging
import ssl
import threading
import time
from typing import Self

from pynetdicom import AE, _config

from dicom_node.processes import wait_for_stop
from dicom_node.receive.admission import AssociationLimit, DiskWatermark, SenderList
from dicom_node.receive.listener import Listener
from dicom_node.receive.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_node.receive.presentation import build_contexts
from dicom_node.receive.reception import Archive
from dicom_node.receive.registry import Registry
from dicom_node.receive.spool import Spool
from dicom_node.receive.upper_layer import PDULimits
from dicom_node.settings import Settings
from dicom_node.store import Store

_LOGGER = logging.getLogger("dicom_node.receive")

# pynetdicom's own handlers format every message for its log, identifiers of patients included.
_config.LOG_HANDLER_LEVEL = "none"

_IDLE_S = 1.0
"""An association that has been silent for so long has nothing in flight."""


class Receiver:
    """A listening receiver in this process: `with start_receiver(settings) as receiver`."""

    def __init__(self, listener: Listener, store: Store, grace_s: float) -> None:
        self._listener = listener
        self._store = store
        self._grace_s = grace_s
        self._thread = threading.Thread(target=listener.serve_forever, args=(0.1,), name="listener", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """TCP port that is listened on."""
        return int(self._listener.server_address[1])

    def stop(self, grace_s: float | None = None) -> None:
        """Stop accepting, let objects in flight finish within the grace period, then break what is left."""
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
        self._listener.archive.registry.close()
        self._store.close()

    def __enter__(self) -> Self:
        """Return the running receiver."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drain and stop."""
        self.stop()


def start_receiver(settings: Settings, *, ssl_context: ssl.SSLContext | None = None) -> Receiver:
    """Listen on the configured host and port, in threads of this process; port 0 takes a free one."""
    limits = settings.receive
    spool = Spool(settings.node.spool_dir)
    store = Store(settings.database_url)
    archive = Archive(
        spool=spool,
        store=store,
        registry=Registry(store, spool.folder),
        watermark=DiskWatermark(spool.folder, limits.minimum_free_mb * 1e6),
        maximum_object_bytes=int(limits.maximum_object_mb * 1e6),
    )
    listener = Listener(
        build_ae(settings),
        (settings.node.host, settings.node.port),
        archive=archive,
        limits=PDULimits(maximum_pdu_bytes=limits.maximum_pdu_bytes, deadline_s=limits.pdu_deadline_s),
        senders=SenderList(settings.senders),
        association_limit=AssociationLimit(limits.maximum_associations, limits.maximum_associations_per_address),
        ssl_context=ssl_context,
    )
    return Receiver(listener, store, settings.node.grace_s)


def build_ae(settings: Settings) -> AE:
    """Build the application entity: title, accepted contexts, time-outs."""
    ae = AE(settings.node.ae_title)
    ae.supported_contexts = build_contexts()
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.require_called_aet = True
    ae.require_calling_aet = sorted({sender.ae_title for sender in settings.senders})
    # pynetdicom would count connections; the listener counts associations.
    ae.maximum_associations = 1_000_000
    ae.maximum_pdu_size = settings.receive.maximum_pdu_bytes
    ae.acse_timeout = settings.receive.acse_timeout_s
    ae.dimse_timeout = settings.receive.dimse_timeout_s
    ae.network_timeout = settings.receive.network_timeout_s
    return ae


def run_receiver(settings: Settings) -> int:
    """Receive until SIGTERM or SIGINT, then drain; returns the exit code."""
    receiver = start_receiver(settings)
    _LOGGER.info("receiving as %s on %s port %d", settings.node.ae_title, settings.node.host, receiver.port)
    wait_for_stop()
    receiver.stop()
    return 0
