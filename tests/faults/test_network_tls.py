"""DICOM TLS (PS3.15 B.12): who is let in with which certificate, and that nobody else is in the way of others."""

import contextlib
import select
import shutil
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import build_dx
from certificates import Authority, Identity
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from raw_peer import ASSOCIATE_AC, ASSOCIATE_RJ, ASSOCIATE_RQ, RawPeer, status_of
from receiving import encode, ends_soon, kept_files, many, port_of
from running import wait_for

from dicom_node import tls as tls_module
from dicom_node.receive import listener
from dicom_node.receive.storage_scp import Receiver
from dicom_node.settings import Sender, TLSFiles, TLSSettings
from dicom_node.tls import build_client_context, build_server_context

pytestmark = pytest.mark.fault(21)

StartReceiver = Callable[..., Receiver]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "tls")


@pytest.fixture
def tls(authority: Authority) -> TLSSettings:
    """`[tls]` of the node."""
    return authority.settings(authority.issue("node"))


@pytest.fixture
def pacs(authority: Authority) -> Identity:
    return authority.issue("pacs")


def plain_client(authority: Authority) -> ssl.SSLContext:
    """Build a client that shows no certificate and insists on nothing else."""
    return ssl.create_default_context(cafile=authority.certificate)


def secured(receiver: Receiver, context: ssl.SSLContext) -> RawPeer:
    peer = RawPeer(receiver.port)
    peer.socket = context.wrap_socket(peer.socket, server_hostname="127.0.0.1")
    return peer


def build_lenient_context(files: TLSFiles) -> ssl.SSLContext:
    context = build_server_context(files)
    context.verify_mode = ssl.CERT_NONE
    return context


def is_shut_out(receiver: Receiver, context: ssl.SSLContext) -> bool:
    """Tell whether no association is to be had: with TLS 1.3 a client hears of its refusal when it first reads."""
    try:
        with secured(receiver, context) as peer:
            return peer.request() == (0, b"")
    except OSError:
        return True


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_objects_come_over_tls_as_sent(
    start: StartReceiver, authority: Authority, tls: TLSSettings, pacs: Identity, version: ssl.TLSVersion
) -> None:
    """With TLS 1.2 or 1.3 and a certificate of the authority, an object is kept with the bytes that were sent."""
    receiver = start(tls=tls)
    context = build_client_context(authority.settings(pacs))
    context.minimum_version = context.maximum_version = version
    ds = build_dx()
    with secured(receiver, context).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert len(kept_files(receiver)) == 1


def test_without_a_good_certificate_nobody_is_let_in(
    start: StartReceiver, authority: Authority, tls: TLSSettings, tmp_path: Path
) -> None:
    """A client without certificate, with an expired one, or with one of another authority gets no association."""
    receiver = start(tls=tls)
    other = Authority(tmp_path / "other", "other authority")
    stranger, expired = other.issue("pacs"), authority.issue("expired", days=-1)
    for identity in (stranger, expired, None):
        context = plain_client(authority)
        if identity is not None:
            context.load_cert_chain(identity.certificate, identity.key)
        assert is_shut_out(receiver, context)
    assert not is_shut_out(receiver, build_client_context(authority.settings(authority.issue("pacs"))))


@pytest.mark.parametrize("is_hardened", [True, False])
@pytest.mark.parametrize(
    "weakness",
    [
        pytest.param((ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"), id="TLS 1.0"),
        pytest.param((ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"), id="TLS 1.1"),
        pytest.param((ssl.TLSVersion.TLSv1_2, "eNULL:!aNULL:@SECLEVEL=0"), id="no encryption"),
        pytest.param((ssl.TLSVersion.TLSv1_2, "aNULL:!eNULL:@SECLEVEL=0"), id="no certificates"),
        pytest.param((ssl.TLSVersion.TLSv1_2, "ECDHE+AES+SHA1:AES128-SHA:AES256-SHA:@SECLEVEL=0"), id="CBC"),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_and_weak_ciphers_are_refused(
    start: StartReceiver,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    weakness: tuple[ssl.TLSVersion, str],
    is_hardened: bool,
) -> None:
    """TLS 1.0 and 1.1, ciphers without encryption or authentication, and those with CBC have no handshake.

    Where the node allows them, the same client is let in: it is the node's choice that shuts it out. (RC4 and 3DES are
    not built into OpenSSL any more.)
    """
    (version, ciphers), pacs = weakness, authority.issue("pacs")
    good, context = build_client_context(authority.settings(pacs)), plain_client(authority)
    context.load_cert_chain(pacs.certificate, pacs.key)
    context.minimum_version = context.maximum_version = version
    context.set_ciphers(ciphers)
    if not is_hardened:
        monkeypatch.setattr(tls_module, "_VERSIONS", {"1.2": version})
        monkeypatch.setattr(tls_module, "_CIPHERS", ciphers)
        # Where a certificate is asked for, OpenSSL has no handshake without: a second reason to refuse that one.
        monkeypatch.setattr(tls_module, "build_server_context", build_lenient_context)
    receiver = start(tls=authority.settings(authority.issue("node")))
    assert is_shut_out(receiver, context) is is_hardened
    assert not (is_hardened and is_shut_out(receiver, good))


def test_only_tls_1_3_where_that_is_configured(start: StartReceiver, authority: Authority, pacs: Identity) -> None:
    """With `minimum_version = "1.3"` a client that knows only TLS 1.2 has no handshake."""
    receiver = start(tls=authority.settings(authority.issue("node"), minimum_version="1.3"))
    context = build_client_context(authority.settings(pacs))
    assert not is_shut_out(receiver, context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert is_shut_out(receiver, context)


def test_plain_text_and_silence_on_the_tls_port_stop_nobody(
    start: StartReceiver, authority: Authority, tls: TLSSettings, pacs: Identity
) -> None:
    """Beside a client that is silent and one that speaks plain DICOM, others have their association at once."""
    receiver = start(tls=tls)
    context = build_client_context(authority.settings(pacs))
    with RawPeer(receiver.port), RawPeer(receiver.port) as plain, secured(receiver, context) as peer:
        assert peer.request()[0] == ASSOCIATE_AC
        plain.send(ASSOCIATE_RQ, bytes(200))
        assert plain.wait_for_end(20)


def test_stock_pynetdicom_accepts_nobody_beside_a_silent_client(authority: Authority, tls: TLSSettings) -> None:
    """The negative control: pynetdicom's accept loop waits for the silent client's handshake."""
    ae = AE("FRACTUREAI")
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=build_server_context(tls))
    with RawPeer(port_of(server)), RawPeer(port_of(server), timeout_s=2) as second, pytest.raises(TimeoutError):
        second.socket = plain_client(authority).wrap_socket(second.socket, server_hostname="127.0.0.1")
    server.shutdown()


@pytest.mark.parametrize("by", ["subject", "fingerprint"])
def test_a_sender_may_be_bound_to_its_certificate(
    start: StartReceiver, authority: Authority, tls: TLSSettings, pacs: Identity, by: str
) -> None:
    """An AE title with a certificate in the configuration is rejected, RJ (1,1,3), with any other certificate."""
    receiver = start(tls=tls, senders=(Sender(ae_title="PACS", certificate=getattr(pacs, by)),))
    with secured(receiver, build_client_context(authority.settings(pacs))) as peer:
        assert peer.request(calling="PACS")[0] == ASSOCIATE_AC
    with secured(receiver, build_client_context(authority.settings(authority.issue("other")))) as peer:
        kind, body = peer.request(calling="PACS")
        assert (kind, *body[1:]) == (ASSOCIATE_RJ, 1, 1, 3)


def certificate_shown(receiver: Receiver, context: ssl.SSLContext) -> bytes | None:
    with secured(receiver, context) as peer:
        assert peer.request()[0] == ASSOCIATE_AC
        assert isinstance(peer.socket, ssl.SSLSocket)
        return peer.socket.getpeercert(binary_form=True)


def test_a_renewed_certificate_is_shown_without_a_restart_and_nobody_is_disturbed(
    start: StartReceiver, authority: Authority, pacs: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """New handshakes see the new certificate; old associations go on; between certificate and key the old one stays."""
    node, renewed = authority.issue("node"), authority.issue("renewed")
    receiver = start(tls=authority.settings(node))
    context = build_client_context(authority.settings(pacs))
    ds = build_dx()
    with secured(receiver, context).associate() as early:
        first = certificate_shown(receiver, context)
        shutil.copyfile(renewed.certificate, node.certificate)
        assert certificate_shown(receiver, context) == first
        assert "the certificate in use stays" in caplog.text
        shutil.copyfile(renewed.key, node.key)
        assert (
            certificate_shown(receiver, context) == ssl.PEM_cert_to_DER_cert(renewed.certificate.read_text()) != first
        )
        assert status_of(early.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0


def test_another_authority_is_trusted_without_a_restart(
    start: StartReceiver, authority: Authority, tls: TLSSettings, pacs: Identity, tmp_path: Path
) -> None:
    """Where the file of authorities is replaced, new handshakes go by the new one: the old ones are shut out."""
    receiver = start(tls=tls)
    other = Authority(tmp_path / "other", "other authority")
    newcomer = build_client_context(authority.settings(other.issue("pacs")))
    assert is_shut_out(receiver, newcomer)
    assert not is_shut_out(receiver, build_client_context(authority.settings(pacs)))
    trusted = authority.certificate.read_text()
    tls.ca.write_text(other.certificate.read_text())
    assert not is_shut_out(receiver, newcomer)
    (tmp_path / "node.pem").write_text(trusted)
    known = ssl.create_default_context(cafile=tmp_path / "node.pem")
    known.load_cert_chain(pacs.certificate, pacs.key)
    assert is_shut_out(receiver, known)


def test_a_look_at_the_port_is_no_failure(
    start: StartReceiver, tls: TLSSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that closes before its handshake, as a monitoring system's, leaves no warning."""
    receiver = start(tls=tls)
    for _ in range(3):
        socket.create_connection(("127.0.0.1", receiver.port)).close()
    assert ends_soon(lambda: len(receiver.connections))
    assert "failed" not in caplog.text


def test_a_handshake_that_drips_ends_and_no_address_has_many_at_once(
    start: StartReceiver, authority: Authority, tls: TLSSettings, pacs: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte of a handshake now and then does not prolong it; the 65th of an address is closed, others go on after."""
    monkeypatch.setattr(listener, "_TLS_HANDSHAKE_S", 2)
    receiver = start(tls=tls)
    with RawPeer(receiver.port) as peer:
        started = time.monotonic()
        peer.socket.sendall(b"\x16\x03\x01\x02\x00")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 30:
                peer.socket.sendall(b"\0")
                time.sleep(0.2)
        assert 1.5 < time.monotonic() - started < 30
    monkeypatch.setattr(listener, "_TLS_HANDSHAKE_S", 60)
    with many(receiver.port, 70) as peers:
        closed, _, _ = select.select([peer.socket for peer in peers], [], [], 20)
        assert closed
        assert is_shut_out(receiver, build_client_context(authority.settings(pacs)))
    context = build_client_context(authority.settings(pacs))
    wait_for("the handshakes are given up", lambda: not is_shut_out(receiver, context))
