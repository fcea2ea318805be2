"""What the doctor says about ports and destinations, each with a real program behind them, or none."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from certificates import Authority
from pynetdicom import AE
from pynetdicom.sop_class import Verification
from running import Node, wait_for

from dicom_node.demo.archives import find_free_port
from dicom_node.operate import doctor
from dicom_node.operate.health import accepts_connections
from dicom_node.receive.storage_scp import start_receiver
from dicom_node.settings import load_settings


@pytest.fixture
def node(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "_PATIENCE_S", 1)
    node = Node(tmp_path, {"archive": find_free_port()})
    yield node
    if node.process is not None:
        node.stop()


def findings(check, settings):
    return {finding.subject: finding for finding in check(settings)}


def edited(node, old, new):
    text = node.config.read_text()
    assert old in text
    node.config.write_text(text.replace(old, new, 1))
    return load_settings(node.config)


def test_ports_that_nobody_has_are_free(node):
    found = findings(doctor.check_ports, node.settings)
    assert [(one.ok, one.says.endswith(" is free")) for one in found.values()] == [(True, True), (True, True)]


def test_ports_that_the_running_node_has_are_proven_to_be_its_own(node):
    node.start()
    wait_for("the web port answers", lambda: accepts_connections("127.0.0.1", node.settings.web.port))
    found = findings(doctor.check_ports, node.settings)
    assert found["DICOM port"].ok, found
    assert "answered by the node: C-ECHO to FRACTUREAI" in found["DICOM port"].says
    assert found["web port"].ok, found
    assert "answered by the node, version" in found["web port"].says


def test_a_node_that_speaks_tls_is_known_by_its_certificate(node, tmp_path):
    authority = Authority(tmp_path / "tls")
    own, other = (authority.settings(authority.issue(name)) for name in ("node", "other"))
    settings = node.settings.model_copy(update={"tls": own})
    with start_receiver(settings):
        finding = findings(doctor.check_ports, settings)["DICOM port"]
        assert "answered by the node: TLS with" in finding.says
        taken = findings(doctor.check_ports, settings.model_copy(update={"tls": other}))["DICOM port"]
        assert not taken.ok


def test_a_node_that_no_sender_may_reach_from_here_answers_all_the_same(node):
    settings = edited(
        node, '[[senders]]\nae_title = "ARCHIVE"', '[[senders]]\nae_title = "A"\nnetworks = ["192.0.2.1"]'
    )
    with start_receiver(settings):
        finding = findings(doctor.check_ports, settings)["DICOM port"]
    assert finding.ok
    assert "answered by the node: C-ECHO to FRACTUREAI" in finding.says


def test_a_program_that_listens_but_says_nothing_has_taken_the_ports(node):
    settings = node.settings
    with socket.create_server(("127.0.0.1", node.port)), socket.create_server(("127.0.0.1", settings.web.port)):
        found = findings(doctor.check_ports, settings)
    for subject, key in (("DICOM port", "node.port"), ("web port", "web.port")):
        assert not found[subject].ok
        assert "taken by another program" in found[subject].says
        assert f"or set {key} to a free one" in found[subject].remedy


def test_another_application_entity_on_the_dicom_port_is_another_program(node):
    ae = AE(ae_title="SOMEONE")
    ae.require_called_aet = True
    ae.add_supported_context(Verification)
    server = ae.start_server(("127.0.0.1", node.port), block=False)
    try:
        finding = findings(doctor.check_ports, node.settings)["DICOM port"]
    finally:
        server.shutdown()
    assert not finding.ok
    assert "taken by another program" in finding.says


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"status": "ok"}'])
def test_another_web_server_on_the_web_port_is_another_program(node, body):
    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", node.settings.web.port), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        finding = findings(doctor.check_ports, node.settings)["web port"]
        server.shutdown()
        thread.join()
    assert not finding.ok
    assert "taken by another program" in finding.says


def test_an_address_that_is_not_this_machines_is_named(node):
    settings = node.settings
    elsewhere = settings.node.model_copy(update={"host": "192.0.2.1"})
    settings = settings.model_copy(update={"node": elsewhere})
    finding = findings(doctor.check_ports, settings)["DICOM port"]
    assert not finding.ok
    assert "not to be had" in finding.says
    assert "node.host" in finding.remedy


def test_a_destination_whose_name_does_not_resolve_is_a_finding(node):
    settings = edited(
        node,
        'name = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"',
        'name = "archive"\nae_title = "ARCHIVE"\nhost = "archive.invalid"',
    )
    finding = findings(doctor.check_destinations, settings)["destination archive"]
    assert not finding.ok
    assert "ARCHIVE at archive.invalid:" in finding.says
    assert "check host, port and AE title" in finding.remedy
