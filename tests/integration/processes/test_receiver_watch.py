"""A receiver that hangs: its port stays open, its supervisor sees nothing, and somebody must be told."""

import json
import os
import signal
import socket
import time
from contextlib import closing

import pytest
from alert_servers import WebhookServer
from certificates import Authority
from receiver_process import ReceiverProcess
from running import wait_for

from dicom_node.alerts import receiver as watch
from dicom_node.alerts.alerting import watching_worker
from dicom_node.alerts.conditions import Kind, find_conditions
from dicom_node.alerts.receiver import ReceiverWatch, ask_receiver
from dicom_node.audit import AuditTrail
from dicom_node.demo.archives import find_free_port
from dicom_node.errors import AssociationError
from dicom_node.operate.health import check_readiness, is_listened_on
from dicom_node.receive.storage_scp import start_receiver
from dicom_node.settings import AlertSettings, Destination, NodeSettings, Sender, Settings
from dicom_node.silence import Silence
from dicom_node.store import Store
from dicom_node.worker import schedule_alerts


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Wait a second for an answer instead of ten."""
    monkeypatch.setattr(watch, "PATIENCE_S", 1.0)


@pytest.fixture
def webhook():
    with closing(WebhookServer()) as server:
        yield server


@pytest.fixture
def running(tmp_path):
    receiver = ReceiverProcess(tmp_path)
    yield receiver
    for pid in (receiver.process.pid, *(child.pid for child in receiver.children)):
        os.kill(pid, signal.SIGCONT)
    receiver.stop()


@pytest.fixture
def build(tmp_path):
    def build(**tables):
        return Settings(
            node=NodeSettings(ae_title="FRACTUREAI", port=find_free_port(), data_dir=tmp_path / "var"),
            senders=(Sender(ae_title="ORTHANC", networks=("192.0.2.1/32",)),),
            destinations=(Destination(name="archive", ae_title="ORTHANC", host="127.0.0.1", port=4242),),
            alerts=AlertSettings(free_mb=0, silent_s=60),
            **tables,
        )

    return build


def with_alerts(settings, **alerts):
    kept = {"free_mb": 0, "every_s": 0.2, "silent_s": 1, "settle_s": 0, "timeout_s": 5, **alerts}
    return settings.model_copy(update={"alerts": AlertSettings(**kept)})


def told(webhook):
    return [(one["event"], one["kind"]) for post in webhook.posts for one in post["alerts"]]


def lines(settings):
    files = AuditTrail(settings.node.audit_dir, "NODE").files()
    return [json.loads(line)["event"] for path in files for line in path.read_text().splitlines()]


@pytest.mark.parametrize("who", ["the process that accepts", "the processes that serve"])
def test_a_receiver_that_hangs_is_told_of_and_so_is_its_return(running, webhook, who):
    """Negative control: the port is open all the time, so that whoever only connects finds nothing wrong."""
    settings = with_alerts(running.settings, webhook_url=f"http://127.0.0.1:{webhook.port}/")
    accepting = who == "the process that accepts"
    pids = [running.process.pid] if accepting else [child.pid for child in running.children]
    with closing(Store(settings.database_url)) as store:
        scheduler = schedule_alerts(settings, store)
        scheduler.start()
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            wait_for("its silence is told", lambda: ("raised", "receiver silent") in told(webhook), within_s=60)
            assert is_listened_on("127.0.0.1", running.port)
            assert not check_readiness(settings).receiver
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            wait_for("its return is told", lambda: ("over", "receiver silent") in told(webhook), within_s=60)
        finally:
            scheduler.shutdown()
    assert "association refused" not in lines(settings)
    assert "FRACTUREAI" not in running.log.partition("receiving as")[2].partition("\n")[2]  # no line a minute


def test_a_restart_within_the_patience_is_told_to_nobody(running, webhook):
    settings = with_alerts(running.settings, webhook_url=f"http://127.0.0.1:{webhook.port}/", silent_s=600)
    with closing(Store(settings.database_url)) as store:
        scheduler = schedule_alerts(settings, store)
        scheduler.start()
        try:
            for pid in (running.process.pid, *(child.pid for child in running.children)):
                os.kill(pid, signal.SIGSTOP)
            wait_for("its silence is noticed", settings.node.receiver_silence.exists, within_s=60)
            for pid in (running.process.pid, *(child.pid for child in running.children)):
                os.kill(pid, signal.SIGCONT)
            wait_for("it answers again", lambda: Silence(settings.node.receiver_silence).since is None, within_s=60)
        finally:
            scheduler.shutdown()
    assert webhook.posts == []


def test_where_the_worker_is_dead_the_process_beside_it_asks(build, webhook):
    settings = with_alerts(build(), webhook_url=f"http://127.0.0.1:{webhook.port}/", silent_s=0.2)
    with closing(Store(settings.database_url)) as store:
        settings.node.heartbeat.touch()
        with watching_worker(settings, store):
            both = {("raised", "no heartbeat"), ("raised", "receiver silent")}
            wait_for("both are told", lambda: both <= set(told(webhook)), within_s=30)


def test_the_silence_is_as_old_as_it_is_however_often_it_is_asked_about_and_whoever_asks(build):
    settings = build()
    with closing(Store(settings.database_url)) as store:
        ReceiverWatch(settings)()
        since = Silence(settings.node.receiver_silence).since
        ReceiverWatch(settings)()
        assert Silence(settings.node.receiver_silence).since == since
        assert list(find_conditions(settings, store, since + 59)) == []
        (one,) = find_conditions(settings, store, since + 61)
        assert (one.kind, one.since) == (Kind.UNANSWERED, since)
        with start_receiver(settings):
            ReceiverWatch(settings)()
        assert list(find_conditions(settings, store, since + 61)) == []


@pytest.mark.parametrize("vouched", [True, False])
def test_with_tls_it_is_known_by_its_certificate_and_nothing_is_said_about_being_asked(
    build, tmp_path, caplog, vouched
):
    """Also where the node's own authorities do not vouch for its own certificate: its peers' may be others."""
    authority, other = Authority(tmp_path / "tls"), Authority(tmp_path / "other")
    own = authority.settings((authority if vouched else other).issue("node"))
    settings = build(tls=own)
    with start_receiver(settings):
        assert ask_receiver(settings) == f"TLS with {own.certificate}"
        stranger = authority.settings(authority.issue("somebody"))
        with pytest.raises(AssociationError, match="another certificate"):
            ask_receiver(settings.model_copy(update={"tls": stranger}))
        time.sleep(0.3)  # for what is not to come
    assert [one.getMessage() for one in caplog.records if "connection" in one.getMessage()] == []
    assert "connection refused" not in lines(settings)


@pytest.mark.parametrize("tls", [True, False])
def test_a_program_that_takes_connections_and_says_nothing_is_no_receiver(build, tmp_path, tls):
    authority = Authority(tmp_path / "tls") if tls else None
    settings = build(**({"tls": authority.settings(authority.issue("node"))} if authority else {}))
    with socket.create_server(("127.0.0.1", settings.node.port)):
        began = time.monotonic()
        with pytest.raises(AssociationError):
            ask_receiver(settings, within_s=0.5)
        assert time.monotonic() - began < 10
