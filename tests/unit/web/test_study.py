"""The page of a study: what is shown to whom, and what may be done by whom."""

import json
from io import BytesIO

import numpy as np
import pytest
from builders import build_dx, phantom
from PIL import Image
from pydicom.uid import generate_uid
from result_bench import Bench, make_study, receive_two_patients
from stored_rows import build_row
from web_bench import Web, build_settings, form_token

from dicom_node.operate.timeline import build_timeline
from dicom_node.result_sets import ResultSets
from dicom_node.settings import Encoding
from dicom_node.store import Event, Profile, RevisionState
from dicom_node.values import ResultKind
from dicom_node.web.roles import Role
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return Pipeline.load(build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG"), threads=1)


@pytest.fixture
def web(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web


@pytest.fixture
def study(web, pipeline):
    """A study that was received and analysed, and whose results are to go to `archive`."""
    return make_study(web.settings.node.data_dir, pipeline, PatientName="Roe^Richard", AccessionNumber="ACC-1")


def test_the_overlay_of_an_image_is_its_picture_also_where_other_results_are_of_that_image(web, pipeline):
    bench = Bench(web.settings.node.data_dir, pipeline)
    bench.results = ResultSets(bench.settings, bench.store, pipeline, {"archive": tuple(Encoding)})
    ds = build_dx(phantom(96, 72), StudyInstanceUID=generate_uid())
    bench.receive(ds)
    bench.paths(ds.StudyInstanceUID)
    bench.store.close()
    uid = ds.StudyInstanceUID
    of_image = [
        one for one in web.store.results_of(uid, web.store.find_study(uid).digest) if one.source_sop_instance_uid
    ]
    assert {one.kind for one in of_image} == {"secondary capture", "presentation state"}
    (overlay,) = [one.sop_instance_uid for one in of_image if one.kind == ResultKind.SECONDARY_CAPTURE]
    page = web.sign_in(Role.RADIOLOGIST).get(f"/study/{uid}").text
    assert f'src="/study/{uid}/overlay/{overlay}"' in page


def result_uid(web, study, kind):
    entry = web.store.find_study(study.StudyInstanceUID)
    (uid,) = [
        one.sop_instance_uid for one in web.store.results_of(study.StudyInstanceUID, entry.digest) if one.kind == kind
    ]
    return uid


def test_those_who_may_see_patients_see_name_pictures_and_report(web, study):
    browser = web.sign_in(Role.RADIOLOGIST)
    page = browser.get(f"/study/{study.StudyInstanceUID}").text
    assert "Roe Richard, ID PHANTOM-1" in page
    assert "ACC-1" in page
    assert "Roe" not in page[: page.index("</head>")]
    assert "<meter" in page
    base = f"/study/{study.StudyInstanceUID}"
    original = browser.get(f"{base}/image/{study.SOPInstanceUID}")
    overlay = browser.get(f"{base}/overlay/{result_uid(web, study, 'secondary capture')}")
    report = browser.get(f"{base}/report/{result_uid(web, study, 'encapsulated pdf')}")
    with Image.open(BytesIO(original.content)) as shown, Image.open(BytesIO(overlay.content)) as drawn:
        assert shown.size == drawn.size == (72, 96)
        expected = np.rint(study.pixel_array / study.pixel_array.max() * 255)
        assert np.abs(np.asarray(shown).astype(float) - expected).max() <= 1
        assert drawn.mode == "RGB"
    assert report.headers["content-type"] == "application/pdf"
    assert report.content.startswith(b"%PDF-")
    assert "Roe" not in str(report.headers)


def test_a_viewer_sees_findings_and_no_patient(web, study):
    browser = web.sign_in(Role.VIEWER)
    base = f"/study/{study.StudyInstanceUID}"
    page = browser.get(base).text
    assert "<meter" in page
    assert "What happened" in page
    for word in ("Roe", "ACC-1", "PHANTOM-1", "<img", "/report/"):
        assert word not in page
    for path in (
        f"{base}/image/{study.SOPInstanceUID}",
        f"{base}/overlay/{result_uid(web, study, 'secondary capture')}",
        f"{base}/report/{result_uid(web, study, 'encapsulated pdf')}",
    ):
        assert browser.get(path).status_code == 403


def test_a_hostile_name_is_text(web, pipeline):
    study = make_study(
        web.settings.node.data_dir, pipeline, PatientName="<script>alert(1)</script>", PatientID="'\"><svg onload=x>"
    )
    page = web.sign_in(Role.RADIOLOGIST).get(f"/study/{study.StudyInstanceUID}").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page
    assert "<svg" not in page


def test_images_that_name_two_patients_are_said_to(web, pipeline):
    uid = receive_two_patients(web.settings.node.data_dir, pipeline)
    page = web.sign_in(Role.RADIOLOGIST).get(f"/study/{uid}").text
    assert "do not name one and the same patient" in page
    assert "Roe Richard" in page
    assert "Doe Jane" in page


def test_who_has_seen_a_study_is_in_the_audit_trail_and_no_patient_is(web, study):
    web.sign_in(Role.RADIOLOGIST).get(f"/study/{study.StudyInstanceUID}")
    (trail,) = web.settings.node.audit_dir.iterdir()
    text = trail.read_text()
    seen = [line for line in map(json.loads, text.splitlines()) if line.get("action") == "view study"]
    assert [(line["user"], line["study_instance_uid"]) for line in seen] == [("radiologist", study.StudyInstanceUID)]
    assert "Roe" not in text


@pytest.mark.parametrize("path", ["1.2.3.999", "..%2F..%2Fetc", "%3Cscript%3E", "1" * 65])
def test_what_is_no_study_is_no_page(web, path):
    answer = web.sign_in(Role.RADIOLOGIST).get(f"/study/{path}")
    assert answer.status_code == 404
    assert "<script>" not in answer.text


def test_a_file_of_another_study_is_not_shown_under_this_one(web, study, pipeline):
    other = make_study(web.settings.node.data_dir, pipeline)
    browser = web.sign_in(Role.RADIOLOGIST)
    base = f"/study/{study.StudyInstanceUID}"
    for path in (
        f"{base}/image/{other.SOPInstanceUID}",
        f"{base}/overlay/{result_uid(web, other, 'secondary capture')}",
        f"{base}/report/{result_uid(web, study, 'secondary capture')}",
    ):
        assert browser.get(path).status_code == 404


def test_an_image_that_cannot_be_decoded_or_is_gone_is_said_to_be(web, study):
    browser = web.sign_in(Role.RADIOLOGIST)
    file = web.settings.node.spool_dir / study.StudyInstanceUID / f"{study.SOPInstanceUID}.dcm"
    content = file.read_bytes()
    file.write_bytes(content[:-1000])
    path = f"/study/{study.StudyInstanceUID}/image/{study.SOPInstanceUID}"
    assert browser.get(path).status_code == 422
    file.unlink()
    assert browser.get(path).status_code == 404


def act(browser, study, action, **data):
    data["form_token"] = form_token(browser)
    return browser.post(f"/study/{study.StudyInstanceUID}/{action}", data=data)


@pytest.mark.parametrize("action", ["retry", "complete", "send"])
def test_only_operators_act(web, study, action):
    assert act(web.sign_in(Role.RADIOLOGIST), study, action, destination="second").status_code == 403
    assert len(web.store.find_study(study.StudyInstanceUID).destinations) == 1


def test_results_are_sent_to_another_destination_once(web, study):
    browser = web.sign_in(Role.OPERATOR)
    page = browser.get(f"/study/{study.StudyInstanceUID}").text
    assert "<option>second</option>" in page
    assert "<option>archive</option>" not in page
    for said in ("sent", "nothing"):
        answer = act(browser, study, "send", destination="second")
        assert answer.headers["location"].endswith(f"?said={said}")
    entry = web.store.find_study(study.StudyInstanceUID)
    assert [(one.destination, one.objects, one.pending) for one in entry.destinations] == [
        ("archive", 3, 3),
        ("second", 3, 3),
    ]
    assert {due.destination for due in web.store.due_deliveries(2e9)} == {"archive", "second"}
    assert act(browser, study, "send", destination="elsewhere").status_code == 400


def test_a_destination_is_sent_the_forms_of_the_results_that_it_wants(web, study):
    wanted = Profile(kinds=frozenset({ResultKind.SUMMARY}), language="en")
    assert web.store.send(study.StudyInstanceUID, "second", wanted) == 1
    assert web.store.send(study.StudyInstanceUID, "second", wanted) == 0
    assert web.store.send(study.StudyInstanceUID, "second") == 2


def test_a_finished_study_is_in_delivery_again_when_it_is_sent(web, study):
    digest = web.store.find_study(study.StudyInstanceUID).digest
    web.store.set_revision_state(study.StudyInstanceUID, digest, RevisionState.DONE)
    assert web.store.send(study.StudyInstanceUID, "second") == 3
    assert web.store.find_study(study.StudyInstanceUID).state == RevisionState.DELIVERING


def test_what_has_failed_is_tried_again(web, study):
    (due,) = web.store.due_deliveries(2e9)
    web.store.park_open(due, "archive: away")
    web.store.finish_delivered()
    browser = web.sign_in(Role.OPERATOR)
    assert "Try again" in browser.get(f"/study/{study.StudyInstanceUID}").text
    assert act(browser, study, "retry").headers["location"].endswith("?said=retried")
    assert web.store.find_study(study.StudyInstanceUID).state == RevisionState.DELIVERING


def test_an_open_study_is_completed(web):
    web.store.add_instances([build_row("1.1.0", "1.1")])
    browser = web.sign_in(Role.OPERATOR)
    assert "Wait for no more images" in browser.get("/study/1.1").text
    browser.post("/study/1.1/complete", data={"form_token": form_token(browser)})
    assert web.store.open_studies()[0].forced


def test_the_timeline_tells_what_happened_and_how_long_it_took():
    received = [build_row(f"1.{number}", "1", received_at=100.0 + number) for number in range(3)]
    late = build_row("1.9", "1", received_at=160.0, calling_ae_title="OTHER")
    moments = build_timeline([*received, late], [Event(at=112.0, what="analysing"), Event(at=115.5, what="done")])
    assert [(one.at, one.after_s, one.what) for one in moments] == [
        (100.0, 0.0, "first of 3 instance(s) received from ARCHIVE"),
        (102.0, 2.0, "last of 3 instances received"),
        (112.0, 10.0, "analysing"),
        (115.5, 3.5, "done"),
        (160.0, 44.5, "first of 1 instance(s) received from OTHER"),
    ]
