"""DICOM TLS with the programs that hospitals have: Orthanc and DCMTK, as senders and as archives."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from builders import build_dx, write_part10
from certificates import Authority, Identity
from pydicom.uid import DigitalXRayImageStorageForPresentation
from pynetdicom.presentation import build_context
from receiving import kept_files
from running import wait_for

from dicom_node.association import request_association
from dicom_node.demo.archives import OrthancArchive, find_free_port
from dicom_node.errors import AssociationError
from dicom_node.operate.health import accepts_connections
from dicom_node.receive.storage_scp import Receiver
from dicom_node.settings import Archive, Sender, TLSFiles

pytestmark = pytest.mark.fault(21)

StartReceiver = Callable[..., Receiver]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def node(authority: Authority) -> Identity:
    return authority.issue("node")


@pytest.fixture
def pacs(authority: Authority) -> Identity:
    return authority.issue("pacs")


def store(archive: Archive) -> int:
    """Send one radiograph; return the status."""
    ds = build_dx(PixelData=bytes(2048), Rows=32, Columns=32)
    contexts = [build_context(DigitalXRayImageStorageForPresentation)]
    with request_association(archive, "FRACTUREAI", contexts) as assoc:
        return int(assoc.send_c_store(ds).Status)


# Senders


def storescu(receiver: Receiver, authority: Authority, path: Path, *options: str) -> int:
    command = ["storescu", "-aet", "DCMTK", "-aec", "FRACTUREAI", *options, "+cf", str(authority.certificate)]
    environment = {**os.environ, "TCP_NODELAY": "1"}
    command += ["127.0.0.1", str(receiver.port), str(path)]
    return subprocess.run(command, check=False, capture_output=True, timeout=120, env=environment).returncode


@pytest.mark.dcmtk
def test_dcmtk_sends_over_tls_with_a_certificate_and_not_without(
    start: StartReceiver, authority: Authority, node: Identity, pacs: Identity, tmp_path: Path
) -> None:
    """DCMTK's storescu delivers with the sender's certificate; without one, with another, or in plain it does not."""
    senders = (Sender(ae_title="DCMTK", certificate=pacs.fingerprint),)
    receiver = start(tls=authority.settings(node), senders=senders)
    path = write_part10(build_dx(), tmp_path / "object.dcm")
    other = authority.issue("other")
    assert storescu(receiver, authority, path, "+tla") != 0
    assert storescu(receiver, authority, path, "+tls", str(other.key), str(other.certificate)) != 0
    assert storescu(receiver, authority, path, "-tls") != 0
    assert kept_files(receiver) == []
    assert storescu(receiver, authority, path, "+tls", str(pacs.key), str(pacs.certificate)) == 0
    assert len(kept_files(receiver)) == 1


@pytest.fixture
def orthanc(authority: Authority, pacs: Identity, tmp_path: Path) -> Iterator[Callable[[int], OrthancArchive]]:
    """Start an Orthanc that speaks TLS in both directions and knows a node at a port."""
    running: list[OrthancArchive] = []

    def start_one(node_port: int) -> OrthancArchive:
        modality = {"AET": "FRACTUREAI", "Host": "127.0.0.1", "Port": node_port, "UseDicomTls": True}
        extra = {
            "DicomTlsEnabled": True,
            "DicomTlsCertificate": str(pacs.certificate),
            "DicomTlsPrivateKey": str(pacs.key),
            "DicomTlsTrustedCertificates": str(authority.certificate),
            "DicomTlsRemoteCertificateRequired": True,
            "DicomModalities": {"node": modality},
            "LuaScripts": [],
        }
        running.append(OrthancArchive(tmp_path / "orthanc", node_port, extra=extra))
        running[-1].start()
        return running[-1]

    yield start_one
    for archive in running:
        archive.stop()


@pytest.mark.orthanc
def test_orthanc_sends_and_is_sent_to_over_tls(
    start: StartReceiver,
    orthanc: Callable[[int], OrthancArchive],
    authority: Authority,
    node: Identity,
    pacs: Identity,
) -> None:
    """Orthanc stores to the node and takes its results, each side with its certificate; in plain it takes nothing."""
    senders = (Sender(ae_title="ARCHIVE", certificate=pacs.subject),)
    receiver = start(tls=authority.settings(node), senders=senders)
    archive = orthanc(receiver.port)
    archive.post("/instances", write_to_bytes(build_dx()))
    (instance,) = json.loads(archive.get("/instances"))
    archive.post("/modalities/node/store", json.dumps([instance]).encode())
    assert len(kept_files(receiver)) == 1
    secure = Archive(
        name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, tls=authority.settings(node)
    )
    assert store(secure) == 0x0000
    assert len(json.loads(archive.get("/instances"))) == 2
    with pytest.raises(AssociationError):
        store(secure.model_copy(update={"tls": None, "response_timeout_s": 5}))


def write_to_bytes(ds: object) -> bytes:
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)  # type: ignore[attr-defined]  # a data set
    return buffer.getvalue()


# Archives


@pytest.fixture
def storescp(authority: Authority, pacs: Identity, tmp_path: Path) -> Iterator[int]:
    """The port of DCMTK's storescp, with TLS and a certificate asked for."""
    port = find_free_port()
    command = ["storescp", "--output-directory", str(tmp_path), "+tls", str(pacs.key), str(pacs.certificate)]
    command += ["+cf", str(authority.certificate), "--require-peer-cert", str(port)]
    with subprocess.Popen(command, env={**os.environ, "TCP_NODELAY": "1"}) as process:
        wait_for("storescp listens", lambda: accepts_connections("127.0.0.1", port))
        yield port
        process.terminate()


@pytest.mark.dcmtk
def test_an_archive_gets_results_over_tls_only_where_both_sides_trust_each_other(
    storescp: int, authority: Authority, node: Identity, tmp_path: Path
) -> None:
    """DCMTK's storescp takes results over TLS; a wrong name, authority or certificate is an association error."""
    files = TLSFiles.model_validate(authority.settings(node).model_dump(exclude={"incoming"}))
    archive = Archive(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=storescp, tls=files)
    assert store(archive) == 0x0000
    other = Authority(tmp_path / "other", "other authority")
    stranger = other.issue("node")
    for wrong in (
        {"tls": files.model_copy(update={"ca": other.certificate})},
        {"tls": files.model_copy(update={"certificate": stranger.certificate, "key": stranger.key})},
        {"tls_name": "another.example"},
        {"host": "localhost"},  # the address that the certificate holds, by a name that it does not
    ):
        with pytest.raises(AssociationError, match="over TLS"):
            store(archive.model_copy(update={**wrong, "response_timeout_s": 5}))
    assert store(archive) == 0x0000
