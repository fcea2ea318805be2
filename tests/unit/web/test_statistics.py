"""The page of statistics: the numbers of the command as charts and tables, and the alarm of drift."""

import re
import time
from xml.etree import ElementTree as ET

import pytest
from builders import build_dx, write_part10
from stored_rows import build_row
from web_bench import Web, build_settings

from dicom_node.statistics.counting import gather_statistics
from dicom_node.statistics.drift import assess_drift
from dicom_node.store import ImageStatistic, RevisionState
from dicom_node.web.roles import Role
from inference.bundle import read_bundles
from inference.drift import THRESHOLD, load_reference
from inference.testing import build_tiny_bundles


@pytest.fixture
def web(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web


def make(web, number, *, sender="CR_1", took_s=10.0, **said):
    """Make the results of a study with one image."""
    study, uid = f"1.2.{number}", f"1.2.{number}.1"
    web.store.add_instances([build_row(uid, study, received_at=time.time() - took_s, calling_ae_title=sender)])
    web.store.close_revision(study, time.time())
    (revision,) = [one for one in web.store.unmade_revisions() if one.study_instance_uid == study]
    kept = ImageStatistic(sop_instance_uid=uid, **said)
    web.store.add_results(study, revision.digest, [], [], ["a"], measured=[kept])


def cells(page, name):
    """Return the numbers of the line of a table that has this name."""
    line = re.search(rf'<tr><th scope="row">{re.escape(name)}</th>(.*?)</tr>', page)
    return re.findall(r"<td[^>]*>([^<]*)</td>", line[1])


def test_the_numbers_stand_beside_the_charts(web):
    make(web, 1, decision="fracture", region="HAND", took_s=4)
    make(web, 2, decision="uncertain", region="HAND", took_s=6)
    make(web, 3, decision="not analysed", reason="outside scope", sender="CR_2", took_s=50)
    make(web, 4, decision="not analysed", reason="It is a localiser", sender="CR_2", took_s=5)
    page = web.sign_in(Role.VIEWER).get("/statistics").text
    assert cells(page, "All")[:7] == ["4", "1", "0", "1", "1", "1", "4"]
    hand = cells(page, "Hand")
    assert hand[:7] == ["2", "1", "0", "1", "0", "0", "2"]
    assert re.fullmatch(r"[56]\.\d s", hand[7])
    assert cells(page, "CR_2")[:7] == ["2", "0", "0", "0", "1", "1", "2"]
    assert "<td>It is a localiser</td>" in page
    charts = re.findall(r"<svg.*?</svg>", page)
    assert len(charts) == 6
    titles = [title.text for chart in charts for title in ET.fromstring(chart).iter() if title.tag.endswith("title")]  # noqa: S314  # our own
    assert "Hand: 1 uncertain" in titles
    assert any(re.fullmatch(r"Hand: half of the results within [56]\.\d s", title) for title in titles)


def test_what_a_late_image_makes_two_of_is_called_versions(web):
    """Each version has a time of its own to its results; the study is one and the same."""
    for number in (1, 2):
        web.store.add_instances([build_row(f"1.2.{number}", "1.2")])
        web.store.close_revision("1.2", time.time())
        (revision,) = web.store.unmade_revisions()
        said = [ImageStatistic(sop_instance_uid=f"1.2.{one}", decision="fracture") for one in range(1, number + 1)]
        web.store.add_results("1.2", revision.digest, [], [], ["a"], measured=said)
        web.store.set_revision_state("1.2", revision.digest, RevisionState.DONE)
    page = web.sign_in(Role.VIEWER).get("/statistics").text
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", re.search(r"<thead>(.*?)</thead>", page)[1])
    numbers = dict(zip(heads[1:], cells(page, "All"), strict=True))
    assert (numbers["Images"], numbers["Versions of studies"]) == ("2", "2")
    assert "Studies" not in numbers


def test_the_weeks_are_those_that_are_asked_for(web):
    make(web, 1, decision="fracture", region="HAND")
    browser = web.sign_in(Role.VIEWER)
    for weeks in (4, 7, 52):
        page = browser.get("/statistics", params={"weeks": weeks}).text
        found = gather_statistics(web.store, weeks=weeks, now=time.time())
        assert f"Since {found.since}" in page
        assert f"<option selected>{weeks}</option>" in page
        assert [cells(page, one.name)[0] for one in found.weeks] == ["0"] * (weeks - 1) + ["1"]
    assert browser.get("/statistics", params={"weeks": 0}).status_code == 422


def test_an_empty_node_has_a_page(web):
    page = web.sign_in(Role.VIEWER).get("/statistics").text
    assert cells(page, "All")[0] == "0"
    assert 'role="alert"' not in page


def test_a_sender_whose_title_is_markup_is_text(web):
    make(web, 1, decision="fracture", region="HAND", sender="<b>&CR")
    page = web.sign_in(Role.VIEWER).get("/statistics").text
    assert "<b>&CR" not in page
    assert cells(page, "&lt;b&gt;&amp;CR")[0] == "1"


def scored_bundle(web):
    """Return the first bundle that says which scores it knows, and the regions of the first of them."""
    for bundle in read_bundles(web.settings.models.bundles):
        reference = load_reference(bundle)
        if reference is not None and reference.scores:
            return f"{bundle.manifest.name} {bundle.manifest.version}", reference.scores[0].regions
    return pytest.fail("no bundle carries a reference of scores")


@pytest.mark.parametrize(("studies", "alarm"), [(400, True), (20, False)])
def test_drift_is_an_alarm_above_the_threshold_once_it_can_be_told_from_chance(web, studies, alarm):
    model, regions = scored_bundle(web)
    for number in range(studies):
        said = {"decision": "fracture", "region": regions[0], "probability": 0.999, "fracture_model": model}
        make(web, number, **said)
    (found,) = [
        one
        for one in assess_drift(web.settings, web.store, time.time())
        if one.model == model and one.images == studies
    ]
    assert found.comparison.psi > THRESHOLD
    assert found.is_alarm is alarm
    page = web.sign_in(Role.VIEWER).get("/statistics").text
    said = f"has a population stability index of {found.comparison.psi:.2f}, above the threshold of {THRESHOLD}"
    assert (said in page) is alarm
    assert ('role="alert"' in page) is alarm
    assert ("DRIFTED" in page) is alarm
    assert ("too few to tell" in page) is True
    assert f">{found.comparison.psi:.2f}</meter>" in page


def test_no_patient_is_on_the_page(web):
    ds = build_dx(PatientName="Roe^Richard", PatientID="P-77", AccessionNumber="ACC-1")
    make(web, 1, decision="fracture", region="HAND")
    write_part10(ds, web.settings.node.spool_dir / "1.2.1" / "1.dcm")
    page = web.sign_in(Role.VIEWER).get("/statistics").text
    for word in ("Roe", "P-77", "ACC-1", "1.2.1"):
        assert word not in page


def test_a_bundle_without_reference_is_said_to_have_none(tmp_path):
    bundles = build_tiny_bundles(tmp_path / "bundles", region="LEG")
    with Web(build_settings(tmp_path / "node", bundles=bundles)) as web:
        assert "carries no reference" in web.sign_in(Role.VIEWER).get("/statistics").text
