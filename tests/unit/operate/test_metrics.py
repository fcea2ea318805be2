import asyncio
import re
import time
from contextlib import closing

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from stored_rows import build_row

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.operate.metrics import build_metrics
from dicom_node.settings import Destination, ModelSettings, NodeSettings, Sender, Settings
from dicom_node.store import DeliveryState, Finding, ImageStatistic, RevisionState, Store, StoredResult
from inference.testing import build_tiny_bundles

STUDY = "1.2.826.0.1.77"
PORT = 4242


@pytest.fixture
def settings(tmp_path):
    return Settings(
        node=NodeSettings(ae_title="FRACTUREAI", data_dir=tmp_path / "var"),
        senders=(Sender(ae_title="ORTHANC"),),
        destinations=tuple(
            Destination(name=name, ae_title="ORTHANC", host="127.0.0.1", port=PORT) for name in ("archive", "backup")
        ),
        models=ModelSettings(bundles=build_tiny_bundles(tmp_path / "bundles")),
    )


@pytest.fixture
def store(settings):
    with closing(Store(settings.database_url)) as store:
        yield store


def build_app(settings, store):
    app = FastAPI()
    app.include_router(build_metrics(settings, store))
    return app


def ask(app, accept="*/*"):
    async def get():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
            return await client.get("/metrics", headers={"accept": accept})

    answer = asyncio.run(get())
    assert answer.status_code == 200
    return answer


def scrape(app):
    """Return the value of every sample, by its name and the values of its labels."""
    families = text_string_to_metric_families(ask(app).text)
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def make_revision(store, *, ago_s=0.0):
    """Make a version whose last image came some time ago, with one result for two destinations."""
    uid = f"{STUDY}.1"
    store.add_instances([build_row(uid, STUDY, received_at=time.time() - ago_s, size=1000)])
    store.close_revision(STUDY, time.time() - ago_s)
    (revision,) = store.unmade_revisions()
    result = StoredResult(
        sop_instance_uid=f"{STUDY}.5", sop_class_uid="1.9", series_instance_uid="1.8", kind="encapsulated pdf", path="a"
    )
    said = [Finding(sop_instance_uid=uid, decision="fracture", region="LEG", probability=0.7, reason="")]
    measured = [ImageStatistic(sop_instance_uid=uid, decision="fracture")]
    store.add_results(STUDY, revision.digest, [result], said, ["archive", "backup"], measured=measured)
    store.set_revision_state(STUDY, revision.digest, RevisionState.DELIVERING)
    return result.sop_instance_uid


def test_an_idle_node_says_zero_and_not_nothing(settings, store):
    found = scrape(build_app(settings, store))
    assert found["dicom_node_studies_waiting",] == 0
    assert found["dicom_node_oldest_open_study_seconds",] == 0
    assert found["dicom_node_revisions", "failed"] == 0
    assert found["dicom_node_results_undelivered", "archive", "parked"] == 0
    assert found["dicom_node_time_to_result_seconds_bucket", "+Inf"] == 0


def test_an_open_study_waits_and_has_an_age(settings, store):
    store.add_instances([build_row(f"{STUDY}.1", STUDY, received_at=time.time() - 50)])
    found = scrape(build_app(settings, store))
    assert found["dicom_node_studies_waiting",] == 1
    assert found["dicom_node_oldest_open_study_seconds",] == pytest.approx(50, abs=5)


def test_what_a_destination_lacks_is_counted_with_its_age(settings, store):
    uid = make_revision(store, ago_s=100)
    store.record_delivery("archive", uid, DeliveryState.PARKED, "no such SOP class")
    found = scrape(build_app(settings, store))
    assert found["dicom_node_results_undelivered", "archive", "parked"] == 1
    assert found["dicom_node_results_undelivered", "backup", "pending"] == 1
    assert found["dicom_node_oldest_undelivered_result_seconds", "backup"] == pytest.approx(100, abs=5)
    assert found["dicom_node_revisions", "delivering"] == 1
    assert found["dicom_node_images", "fracture"] == 1


def test_the_time_to_result_is_a_histogram_of_every_version(settings, store):
    uid = make_revision(store, ago_s=20)
    found = scrape(build_app(settings, store))
    counts = [found["dicom_node_time_to_result_seconds_bucket", limit] for limit in ("10.0", "30.0", "+Inf")]
    assert counts == [0, 1, 1]
    assert found["dicom_node_time_to_result_seconds_sum",] == pytest.approx(20, abs=5)
    assert found["dicom_node_time_to_proof_seconds_count",] == 0
    for name in ("archive", "backup"):
        store.record_delivery(name, uid, DeliveryState.SENT, "")
        store.settle(name, uid, DeliveryState.DELIVERED, "")
    store.finish_delivered()
    found = scrape(build_app(settings, store))
    assert [found["dicom_node_time_to_proof_seconds_bucket", limit] for limit in ("10.0", "+Inf")] == [1, 1]
    assert found["dicom_node_revisions", "delivering"] == 0


def test_refused_objects_are_counted_by_status_from_now_on(settings, store):
    trail = AuditTrail(settings.node.audit_dir, "FRACTUREAI")
    trail.note(AuditEvent.INSTANCE_RECEIVED, status=0xA700, outcome="before the process began")
    app = build_app(settings, store)
    trail.note(AuditEvent.INSTANCE_RECEIVED, status=0, outcome="new")
    trail.note(AuditEvent.INSTANCE_RECEIVED, status=0xA700, outcome="full")
    trail.note(AuditEvent.STUDY_REMOVED, status=0xA700, reason="instance received")
    with trail.files()[-1].open("ab") as file:
        file.write(b'{"event":"instance received","status":49168')
    assert scrape(app)["dicom_node_store_refusals_total", "A700"] == 1
    with trail.files()[-1].open("ab") as file:
        file.write(b"}\n")
    trail.note(AuditEvent.INSTANCE_RECEIVED, status=0xA700, outcome="full")
    found = scrape(app)
    assert found["dicom_node_store_refusals_total", "A700"] == 2
    assert found["dicom_node_store_refusals_total", "C010"] == 1


def test_models_disk_and_the_age_of_the_last_sweep_are_told(settings, store):
    settings.node.heartbeat.touch()
    found = scrape(build_app(settings, store))
    assert found["dicom_node_disk_free_bytes",] > 0
    assert found["dicom_node_worker_sweep_age_seconds",] < 60
    models = [key for key in found if key[0] == "dicom_node_model_info"]
    assert len(models) == 2
    assert any({"tiny-fracture", "0.0.1", "fracture"} <= set(key) for key in models)


def test_a_worker_that_never_swept_has_no_age(settings, store):
    assert not any(key[0] == "dicom_node_worker_sweep_age_seconds" for key in scrape(build_app(settings, store)))


def test_no_uid_is_told(settings, store):
    uid = make_revision(store)
    store.record_delivery("archive", uid, DeliveryState.PARKED, f"{uid} of DOE^JANE")
    text = ask(build_app(settings, store)).text
    assert STUDY not in text
    assert "DOE" not in text
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", text)


def test_open_metrics_is_answered_where_it_is_asked_for(settings, store):
    answer = ask(build_app(settings, store), accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
