"""What a syslog server gets, and what becomes of the trail while it is away."""

import base64
import json
import re
import socket
import ssl
import time
from xml.etree import ElementTree as ET

import pytest
from certificates import Authority
from running import wait_for
from syslog_server import SyslogServer

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.audit.forwarder import Forwarder, build_sender, count_waiting, read_place
from dicom_node.audit.syslog import UDPSender, frame
from dicom_node.errors import ConfigurationError
from dicom_node.operate.privacy import check_privacy, check_syslog
from dicom_node.settings import AuditSettings, Destination, NodeSettings, Sender, Settings


@pytest.fixture
def audit(tmp_path):
    return AuditTrail(tmp_path / "audit", "NODE")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls(authority):
    return authority.settings(authority.issue("node"))


@pytest.fixture(scope="module")
def server_context(authority):
    identity = authority.issue("syslog")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def over_tls(port, tls, **options):
    return build_sender(
        AuditSettings(syslog_host="127.0.0.1", syslog_port=port, tls=tls.model_dump(exclude={"incoming"}), **options)
    )


def forwarder_over_udp(audit, port):
    return Forwarder(audit, build_sender(AuditSettings(syslog_host="127.0.0.1", syslog_port=port)))


def start_of(message):
    """Check one message, and return the event that it tells of."""
    header, _, content = message.partition(b"\xef\xbb\xbf")
    assert re.fullmatch(
        rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00 \S+ dicom-node \d+ DICOM\+RFC3881 - ", header
    )
    return ET.fromstring(content).find("EventIdentification/EventID").get("csd-code")  # noqa: S314  # our own


def test_a_header_is_that_of_rfc_5424():
    said = frame("2026-01-02T03:04:05.000006+00:00", 7, b"<x/>")
    expected = f"<85>1 2026-01-02T03:04:05.000006+00:00 {socket.gethostname()} dicom-node 7 DICOM+RFC3881 - "
    assert said == expected.encode() + b"\xef\xbb\xbf<x/>"


def test_a_long_list_of_names_is_told_in_datagrams_that_can_be_sent_and_holds_nothing_up(audit):
    studies = [f"1.2.826.0.1.3680043.8.498.{10**36 + number}" for number in range(1020)]
    with SyslogServer() as server:
        audit.note(AuditEvent.PATIENTS_LISTED, user="jane", action="see worklist", study_instance_uids=studies)
        audit.note(AuditEvent.APPLICATION_STOP, role="worker")
        assert forwarder_over_udp(audit, server.port).forward()
        messages = server.wait_for(22)
    assert [start_of(message) for message in messages] == ["110112"] * 21 + ["110100"]
    queries = b"".join(
        base64.b64decode(query.text)
        for message in messages[:21]
        for query in ET.fromstring(message.partition(b"\xef\xbb\xbf")[2]).iter("ParticipantObjectQuery")  # noqa: S314
    )
    assert all(uid.encode() in queries for uid in studies)


def test_each_line_that_has_a_message_is_one_datagram(audit):
    with SyslogServer() as server:
        audit.note(AuditEvent.APPLICATION_START, role="worker")
        audit.note(AuditEvent.INSTANCE_RECEIVED, status=0)
        audit.note(AuditEvent.ASSOCIATION_REFUSED, calling_ae_title="X", host="192.0.2.1", reason="unknown")
        assert forwarder_over_udp(audit, server.port).forward()
        assert [start_of(message) for message in server.wait_for(2)] == ["110100", "110113"]
    place = read_place(audit.folder)
    assert (place.sent, place.problem) == (2, "")
    assert count_waiting(audit, place) == 0


def test_over_tls_a_hundred_messages_come_whole_and_in_order(audit, tls, server_context):
    with SyslogServer(server_context) as server:
        for number in range(100):
            audit.note(AuditEvent.APPLICATION_START, role=str(number), padding="x" * number)
        assert Forwarder(audit, over_tls(server.port, tls)).forward()
        messages = server.wait_for(100)
    assert {start_of(message) for message in messages} == {"110100"}
    times = [re.search(rb"1 (\S+)", message)[1] for message in messages]
    assert times == sorted(times)
    assert len(times) == 100


def test_a_server_without_a_known_certificate_gets_nothing(audit, tls, tmp_path):
    other = Authority(tmp_path / "other").issue("syslog")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(other.certificate, other.key)
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    with SyslogServer(context) as server:
        forwarder = Forwarder(audit, over_tls(server.port, tls))
        assert not forwarder.forward()
        assert server.messages == []
    assert "SSLCertVerificationError" in read_place(audit.folder).problem


def test_a_server_of_another_name_gets_nothing(audit, tls, server_context):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    with SyslogServer(server_context) as server:
        assert not Forwarder(audit, over_tls(server.port, tls, tls_name="log.example")).forward()
        assert server.messages == []


def test_what_waits_while_the_server_is_away_is_sent_when_it_is_back(audit, tls, server_context):
    with SyslogServer(server_context) as server:
        port = server.port
        forwarder = Forwarder(audit, over_tls(port, tls))
        audit.note(AuditEvent.APPLICATION_START, role="before")
        assert forwarder.forward()
        server.wait_for(1)
    for _ in range(3):
        audit.note(AuditEvent.APPLICATION_START, role="while it is away")
    assert not forwarder.forward()
    place = read_place(audit.folder)
    assert place.problem
    assert count_waiting(audit, place) == 3
    with SyslogServer(server_context, port=port) as server:
        # Also by a process that was started in between.
        assert Forwarder(audit, over_tls(port, tls)).forward()
        assert len(server.wait_for(3)) == 3
    assert count_waiting(audit, read_place(audit.folder)) == 0
    assert read_place(audit.folder).problem == ""


@pytest.mark.parametrize("key", ["syslog_host", "tls_name"])
def test_a_server_whose_name_is_none_is_away_and_the_thread_lives_on(audit, tmp_path, tls, server_context, key):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    with SyslogServer(server_context) as server:
        files = tls.model_dump(exclude={"incoming"})
        where = {"syslog_host": "127.0.0.1", "syslog_port": server.port, "tls": files, key: "syslog..example"}
        forwarder = Forwarder(audit, build_sender(AuditSettings(**where)))
        forwarder.start()
        wait_for("the problem is noted", lambda: (place := read_place(audit.folder)) and place.problem, within_s=10)
        assert forwarder._thread.is_alive()  # noqa: SLF001  # nobody but it would say so
        forwarder.stop(5)
        (finding,) = check_syslog(build_settings(tmp_path, **where))
    assert "idna" in read_place(audit.folder).problem
    assert not finding.ok


def test_a_deaf_server_holds_up_nobody_but_the_forwarder(audit, tls, server_context):
    with SyslogServer(server_context, reads=False) as server:
        forwarder = Forwarder(audit, over_tls(server.port, tls))
        forwarder.start()
        audit.note(AuditEvent.APPLICATION_START, role="worker")
        time.sleep(1.5)  # long enough for it to have begun to wait
        before = time.monotonic()
        for _ in range(200):
            audit.note(AuditEvent.INSTANCE_RECEIVED, status=0)
        assert time.monotonic() - before < 5
        before = time.monotonic()
        forwarder.stop(0.2)
        assert time.monotonic() - before < 2


def test_a_line_that_was_cut_off_or_makes_no_sense_is_passed_over_and_counted(audit):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    with audit.files()[0].open("ab") as file:
        file.write(b'{"at":"2026\n[]\n{"event":"application start"}\n')
    audit.note(AuditEvent.APPLICATION_STOP, role="worker")
    with SyslogServer() as server:
        assert forwarder_over_udp(audit, server.port).forward()
        assert len(server.wait_for(2)) == 2
    assert read_place(audit.folder).unreadable == 3


def test_a_line_that_is_still_being_written_waits_for_its_end(audit):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    path = audit.files()[0]
    line = path.read_bytes()
    path.write_bytes(line + line[:40])
    with SyslogServer() as server:
        forwarder = forwarder_over_udp(audit, server.port)
        assert forwarder.forward()
        assert len(server.wait_for(1)) == 1
        path.write_bytes(line + line)
        assert forwarder.forward()
        assert len(server.wait_for(2)) == 2
    assert read_place(audit.folder).unreadable == 0


def test_the_next_day_s_file_follows_when_the_last_is_sent(audit):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    today = audit.files()[0]
    with SyslogServer() as server:
        forwarder = forwarder_over_udp(audit, server.port)
        tomorrow = today.with_name("9999-12-31.jsonl")
        tomorrow.write_bytes(today.read_bytes() * 2)
        assert forwarder.forward()
        assert len(server.wait_for(3)) == 3
    assert read_place(audit.folder).offsets == {path.name: path.stat().st_size for path in (today, tomorrow)}


@pytest.mark.fault(24)
def test_lines_of_a_day_that_the_clock_was_set_back_to_are_sent(audit):
    """The clock is set back over midnight: lines of the day before are sent, also where the node began on the later."""
    tomorrow = audit.folder / "9999-12-31.jsonl"
    with SyslogServer() as server:
        forwarder = forwarder_over_udp(audit, server.port)  # nothing is there yet
        audit.note(AuditEvent.APPLICATION_START, role="worker")
        today = audit.files()[0].rename(tomorrow)
        line = today.read_bytes()
        assert forwarder.forward()
        assert len(server.wait_for(1)) == 1
        for number in (2, 3):
            audit.note(AuditEvent.APPLICATION_STOP, role="worker")
            assert audit.files()[-1] == tomorrow
            assert count_waiting(audit, read_place(audit.folder)) == 1
            assert forwarder.forward()
            assert len(server.wait_for(number)) == number
        tomorrow.write_bytes(line * 2)
        # Also by a process that was started in between.
        assert forwarder_over_udp(audit, server.port).forward()
        assert len(server.wait_for(4)) == 4
    assert count_waiting(audit, read_place(audit.folder)) == 0


def test_what_was_before_it_was_switched_on_is_not_sent(audit):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    yesterday = audit.files()[0].with_name("2020-01-01.jsonl")
    yesterday.write_bytes(audit.files()[0].read_bytes() * 5)
    with SyslogServer() as server:
        assert forwarder_over_udp(audit, server.port).forward()
        assert len(server.wait_for(1)) == 1


def test_the_place_is_private_and_survives_a_restart(audit):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    with SyslogServer() as server:
        assert forwarder_over_udp(audit, server.port).forward()
        audit.note(AuditEvent.APPLICATION_STOP, role="worker")
        assert forwarder_over_udp(audit, server.port).forward()
        assert [start_of(message) for message in server.wait_for(2)] == ["110100", "110100"]
    place = audit.folder / "forwarded.json"
    assert place.stat().st_mode & 0o777 == 0o600
    assert json.loads(place.read_text())["sent"] == 2


def test_without_a_server_nothing_is_sent():
    assert build_sender(AuditSettings()) is None


def test_the_standard_ports_are_the_defaults(tls):
    udp = build_sender(AuditSettings(syslog_host="127.0.0.1"))
    assert isinstance(udp, UDPSender)
    assert udp.address == ("127.0.0.1", 514)
    assert over_tls(0, tls).address == ("127.0.0.1", 6514)


def test_true_stands_for_the_files_of_tls(tls):
    tables = {
        "node": {"ae_title": "N"},
        "senders": [{"ae_title": "A", "networks": ["127.0.0.0/8"]}],
        "destinations": [{"name": "a", "ae_title": "A", "host": "127.0.0.1", "port": 104}],
        "tls": tls.model_dump(),
    }
    on, off = (
        Settings.model_validate({**tables, "audit": {"syslog_host": "log", "tls": value}}) for value in (True, False)
    )
    assert on.audit.tls.certificate == tls.certificate
    assert off.audit.tls is None


def build_settings(folder, **audit):
    return Settings(
        node=NodeSettings(ae_title="N", data_dir=folder),
        senders=(Sender(ae_title="A"),),
        destinations=(Destination(name="a", ae_title="A", host="127.0.0.1", port=104),),
        audit=AuditSettings(**audit),
    )


@pytest.mark.parametrize("is_there", [True, False])
def test_the_doctor_says_whether_the_server_can_be_reached(tmp_path, tls, server_context, is_there):
    with SyslogServer(server_context) as server:
        port = server.port
        if not is_there:
            server.close()
        files = tls.model_dump(exclude={"incoming"})
        (finding,) = check_syslog(build_settings(tmp_path, syslog_host="127.0.0.1", syslog_port=port, tls=files))
    assert finding.ok is is_there
    assert f"127.0.0.1:{port}" in finding.says


@pytest.mark.parametrize(("mode", "wrong"), [(0o700, 0), (0o750, 1), (0o701, 1)])
def test_the_doctor_says_whether_others_can_enter_the_data_folder(tmp_path, mode, wrong):
    folder = tmp_path / "var"
    folder.mkdir()
    folder.chmod(mode)
    findings = list(check_privacy(build_settings(folder)))
    assert len(findings) == wrong
    assert all(f"chmod 700 {folder}" in finding.remedy for finding in findings)


def test_a_certificate_that_is_not_there_is_said_at_the_start(tls, tmp_path):
    files = {**tls.model_dump(exclude={"incoming"}), "certificate": tmp_path / "none.pem"}
    with pytest.raises(ConfigurationError, match="certificate"):
        build_sender(AuditSettings(syslog_host="127.0.0.1", tls=files))
