import json
import threading
import time
from contextlib import closing

import pytest
from alert_servers import MailServer, WebhookServer
from running import wait_for
from stored_rows import build_row

from dicom_node.alerts.alerting import Alerting, watching_worker
from dicom_node.alerts.channels import build_channels
from dicom_node.settings import AlertSettings, Destination, NodeSettings, Sender, Settings
from dicom_node.store import DeliveryState, RevisionState, Store, StoredResult
from dicom_node.worker import schedule_alerts

STUDY = "1.2.826.0.1.77"


@pytest.fixture
def webhook():
    with closing(WebhookServer()) as server:
        yield server


@pytest.fixture
def build(tmp_path):
    def build(**alerts):
        return Settings(
            node=NodeSettings(ae_title="FRACTUREAI", data_dir=tmp_path),
            senders=(Sender(ae_title="ORTHANC"),),
            destinations=(Destination(name="archive", ae_title="ORTHANC", host="127.0.0.1", port=4242),),
            alerts=AlertSettings(**{"free_mb": 0, "settle_s": 0, "every_s": 0.05, "timeout_s": 1, **alerts}),
        )

    return build


def park(store):
    """Park a result for a reason that quotes a name and a UID, as archives do."""
    store.add_instances([build_row(f"{STUDY}.1", STUDY)])
    store.close_revision(STUDY, time.time())
    (revision,) = store.unmade_revisions()
    result = StoredResult(
        sop_instance_uid=f"{STUDY}.5", sop_class_uid="1.9", series_instance_uid="1.8", kind="encapsulated pdf", path="a"
    )
    store.add_results(STUDY, revision.digest, [result], [], ["archive"])
    store.set_revision_state(STUDY, revision.digest, RevisionState.DELIVERING)
    store.record_delivery("archive", result.sop_instance_uid, DeliveryState.PARKED, f"{STUDY} is not of DOE^JANE")


def tick(settings, store):
    """Look as a worker does that was started just now."""
    for channel in build_channels(settings.alerts):
        Alerting(settings, store, channel)()


def test_an_alert_survives_restarts_is_told_once_and_its_end_too(build, webhook):
    settings = build(webhook_url=f"http://127.0.0.1:{webhook.port}/")
    with closing(Store(settings.database_url)) as store:
        park(store)
        tick(settings, store)
    with closing(Store(settings.database_url)) as store:
        tick(settings, store)
        assert [one["event"] for post in webhook.posts for one in post["alerts"]] == ["raised"]
        store.retry(STUDY)
        store.record_delivery("archive", f"{STUDY}.5", DeliveryState.SENT, "")
        tick(settings, store)
        tick(settings, store)
        tick(settings, store)
    assert [one["event"] for post in webhook.posts for one in post["alerts"]] == ["raised", "over"]


def test_neither_a_name_nor_a_uid_leaves_the_house(build, webhook):
    with closing(MailServer()) as mail:
        settings = build(
            webhook_url=f"http://127.0.0.1:{webhook.port}/",
            smtp_host="127.0.0.1",
            smtp_port=mail.port,
            smtp_security="none",
            mail_from="node@hospital.example",
            mail_to=("pacs@hospital.example",),
        )
        with closing(Store(settings.database_url)) as store:
            park(store)
            tick(settings, store)
    said = json.dumps(webhook.posts) + mail.mails[0].as_string()
    assert "archive: 1 result is parked" in said
    assert "DOE" not in said
    assert STUDY not in said


def test_what_a_dead_webhook_missed_it_is_told_when_it_is_back(build, webhook, caplog):
    settings = build(webhook_url=f"http://127.0.0.1:{webhook.port}/")
    with closing(Store(settings.database_url)) as store:
        park(store)
        webhook.status = 503
        alerting = Alerting(settings, store, build_channels(settings.alerts)[0])
        alerting()
        alerting()
        assert webhook.posts == []
        assert len([one for one in caplog.records if "was not taken" in one.message]) == 1
        webhook.status = 200
        alerting()
    assert [one["event"] for one in webhook.posts[0]["alerts"]] == ["raised"]


def test_a_dead_webhook_does_not_delay_the_mail(build, webhook):
    release = threading.Event()
    with closing(MailServer()) as mail:
        settings = build(
            webhook_url=f"http://127.0.0.1:{webhook.port}/",
            timeout_s=60,
            smtp_host="127.0.0.1",
            smtp_port=mail.port,
            smtp_security="none",
            mail_from="node@hospital.example",
            mail_to=("pacs@hospital.example",),
        )
        webhook.hold = release
        with closing(Store(settings.database_url)) as store:
            park(store)
            scheduler = schedule_alerts(settings, store)
            scheduler.start()
            wait_for("the mail comes while the webhook is silent", lambda: mail.mails, within_s=20)
            assert webhook.posts == []
            release.set()
            wait_for("the webhook is told in the end", lambda: webhook.posts, within_s=20)
            scheduler.shutdown()


def test_a_silent_worker_is_told_of_by_the_process_beside_it(build, webhook):
    settings = build(webhook_url=f"http://127.0.0.1:{webhook.port}/", silent_s=0.2)
    with closing(Store(settings.database_url)) as store:
        settings.node.heartbeat.touch()
        with watching_worker(settings, store):
            wait_for("the silence is told", lambda: webhook.posts, within_s=20)
    assert webhook.posts[0]["alerts"][0]["kind"] == "no heartbeat"


def test_a_worker_that_sweeps_is_left_to_tell_everything_itself(build, webhook):
    settings = build(webhook_url=f"http://127.0.0.1:{webhook.port}/", free_mb=10**9, silent_s=60)
    with closing(Store(settings.database_url)) as store:
        settings.node.heartbeat.touch()
        looked = []
        real = store.alarms
        store.alarms = lambda: looked.append(1) or real()
        with watching_worker(settings, store):
            time.sleep(0.5)  # ten times as often as it looks: nothing is to come
    assert webhook.posts == []
    assert looked == []
