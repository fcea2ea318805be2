"""A receiver on a free port, with a data folder of its own; and, to compare, pynetdicom's as it comes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation, Verification
from pynetdicom.transport import ThreadedAssociationServer

from dicom_node.receive.storage_scp import Receiver, start_receiver
from dicom_node.settings import Destination, NodeSettings, ReceiveSettings, Sender, Settings, TLSSettings
from dicom_node.store import Store

StartReceiver = Callable[..., Receiver]


@pytest.fixture
def build_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Build settings with port 0; keywords go to `[receive]`."""

    def build(
        *, senders: tuple[Sender, ...] = (Sender(ae_title="ORTHANC"),), tls: TLSSettings | None = None, **limits: Any
    ) -> Settings:
        limits = {"acse_timeout_s": 5, "minimum_free_mb": 1, **limits}
        settings = Settings(
            node=NodeSettings(ae_title="FRACTUREAI", data_dir=tmp_path / "data", grace_s=2),
            tls=tls,
            senders=senders,
            destinations=(Destination(name="archive", ae_title="ARCHIVE", host="192.0.2.1", port=4242),),
            receive=ReceiveSettings(**limits),
        )
        # A free port is for tests alone: the configuration file does not take 0.
        return settings.model_copy(update={"node": settings.node.model_copy(update={"port": 0})})

    return build


@pytest.fixture
def start(build_settings: Callable[..., Settings]) -> Iterator[StartReceiver]:
    """Start receivers that stop with the test."""
    running: list[Receiver] = []

    def start_one(**options: Any) -> Receiver:
        running.append(start_receiver(build_settings(**options)))
        return running[-1]

    yield start_one
    for receiver in running:
        receiver.stop(grace_s=0)


@pytest.fixture
def receiver(start: StartReceiver) -> Receiver:
    """A receiver with the default limits."""
    return start()


@pytest.fixture
def store(receiver: Receiver) -> Store:
    """The database of `receiver`."""
    return receiver.archive.store


@pytest.fixture
def stock() -> Iterator[ThreadedAssociationServer]:
    """An SCP of pynetdicom as it comes, with short time-outs: the negative control."""
    ae = AE("FRACTUREAI")
    for sop_class in (DigitalXRayImageStorageForPresentation, Verification):
        ae.add_supported_context(sop_class)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 0.5
    server = ae.start_server(("127.0.0.1", 0), block=False)
    yield server
    server.shutdown()
