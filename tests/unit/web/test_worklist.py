"""The worklist: what is shown first, what is found, and how little is asked of the database for it."""

import re
import time

import pytest
import sqlalchemy as sa
from builders import build_dx, write_part10
from stored_rows import build_row
from web_bench import Web, build_settings, form_token

from dicom_node.store import Finding, InstanceRole, RevisionState, StoredResult, WorklistQuery
from dicom_node.values import ListedImage
from dicom_node.web.roles import Role
from dicom_node.web.templating import format_time


@pytest.fixture
def web(tmp_path):
    with Web(build_settings(tmp_path)) as web:
        yield web


def receive(web, study, *, images=1, file=None):
    rows = [build_row(f"{study}.{number}", study, path=f"{study}/{number}.dcm") for number in range(images)]
    web.store.add_instances(rows)
    if file is not None:
        write_part10(file, web.settings.node.spool_dir / study / "0.dcm")
    return study


def close(web, study, state=RevisionState.DONE, decision="no fracture", destinations=("archive",), *, probability=0.25):
    web.store.close_revision(study, time.time())
    (digest,) = [one.digest for one in web.store.status(1000) if one.study_instance_uid == study]
    result = StoredResult(
        sop_instance_uid=f"{study}.9",
        sop_class_uid="1.2",
        series_instance_uid=f"{study}.8",
        kind="encapsulated pdf",
        path="x",
    )
    said = Finding(sop_instance_uid=f"{study}.0", decision=decision, region="HAND", probability=probability, reason="")
    web.store.add_results(study, digest, [result], [said], destinations)
    web.store.set_revision_state(study, digest, state)
    return digest


def uids(web, **query):
    entries, total = web.store.worklist(WorklistQuery(**query))
    assert total == len(entries)
    return [entry.study_instance_uid for entry in entries]


def test_failures_come_first_and_then_what_changed_last(web):
    for study in ("1.1", "1.2", "1.3"):
        close(web, receive(web, study), RevisionState.FAILED if study == "1.1" else RevisionState.DONE)
    receive(web, "1.4")
    assert uids(web) == ["1.1", "1.4", "1.3", "1.2"]


def test_no_probability_is_shown_as_a_certainty(web):
    """As on the pictures and in the report: 0.9996 is not 1.00."""
    browser = web.sign_in(Role.VIEWER)
    for study, probability in (("1.1", 0.0004), ("1.2", 0.9996)):
        close(web, receive(web, study), probability=probability)
        page = browser.get(f"/study/{study}").text
        assert page.count("&lt;0.01" if probability < 0.5 else "&gt;0.99") == 2
    page = browser.get("/").text
    assert "&lt;0.01" in page
    assert "&gt;0.99" in page


def park(web, study, destination):
    (due,) = [
        one
        for one in web.store.due_deliveries(time.time())
        if (one.study_instance_uid, one.destination) == (study, destination)
    ]
    web.store.park_open(due, "no such SOP class")


def test_a_study_of_which_one_destination_parks_the_results_and_another_waits_is_a_failure(web):
    """It is still being delivered; to wait until the other archive answers may be to wait for ever."""
    for study in ("1.1", "1.2", "1.3"):
        close(web, receive(web, study), RevisionState.DELIVERING, destinations=("archive", "second"))
    receive(web, "1.4")
    park(web, "1.1", "archive")
    web.store.finish_delivered()
    entries, _ = web.store.worklist(WorklistQuery())
    assert [(one.study_instance_uid, one.state) for one in entries[:2]] == [("1.1", "delivering"), ("1.4", "receiving")]
    assert uids(web, states=("failed",)) == ["1.1"]
    assert uids(web, states=("failed", "receiving")) == ["1.1", "1.4"]
    page = web.sign_in(Role.VIEWER).get("/", params={"state": "failed"}).text
    assert ('href="/study/1.1"' in page, 'href="/study/1.2"' in page) == (True, False)
    web.store.retry("1.1")
    assert uids(web, states=("failed",)) == []


def test_what_is_parked_of_a_version_that_a_newer_one_replaces_is_no_failure_of_the_study(web):
    close(web, receive(web, "1.1"), RevisionState.DELIVERING)
    park(web, "1.1", "archive")
    assert uids(web, states=("failed",)) == ["1.1"]
    receive(web, "1.1", images=2)
    assert uids(web, states=("failed",)) == ["1.1"]  # until there is another
    web.store.close_revision("1.1", time.time())
    assert uids(web, states=("failed",)) == []


def test_a_study_is_listed_once_as_its_newest_version_stands(web):
    close(web, receive(web, "1.1"), RevisionState.FAILED)
    receive(web, "1.1", images=2)
    assert [(one.state, one.version, one.images) for one in web.store.worklist(WorklistQuery())[0]] == [
        ("receiving", 1, 2)
    ]
    web.store.close_revision("1.1", time.time())
    assert [(one.state, one.version, one.images) for one in web.store.worklist(WorklistQuery())[0]] == [
        ("queued", 2, 2)
    ]


def test_images_are_shown_of_those_that_an_archive_lists(web):
    receive(web, "1.1", images=2)
    listed = [
        ListedImage(sop_instance_uid=f"1.1.{number}", series_instance_uid="1", modality="DX") for number in range(3)
    ]
    web.store.record_listing("1.1", "archive", listed, asked_at=time.time())
    page = web.sign_in(Role.VIEWER).get("/").text
    assert re.search(r"<td>\s*2 of 3\s*</td>", page)


def test_destinations_show_what_was_sent_committed_and_verified(web):
    close(web, receive(web, "1.1"), RevisionState.DELIVERING, destinations=("archive", "second"))
    page = web.sign_in(Role.VIEWER).get("/").text
    assert "<strong>archive</strong>: 0 sent / 0 committed / 0 verified of 1" in page
    assert "<strong>second</strong>" in page


def test_a_study_shows_when_it_came_and_how_long_its_results_took(web):
    """From the last image of the newest version; nothing where there is no result yet."""
    now = time.time()
    other = build_row("1.1.9", "1.1", received_at=now - 5000, role=InstanceRole.OTHER)
    images = [build_row(f"1.1.{number}", "1.1", received_at=now - 90 + number) for number in (0, 20)]
    web.store.add_instances([other, *images])
    web.store.add_instances([build_row("1.2.0", "1.2", received_at=now - 900)])
    close(web, "1.1")
    with_result, without = sorted(web.store.worklist(WorklistQuery())[0], key=lambda one: one.study_instance_uid)
    assert with_result.arrived_at == pytest.approx(now - 90)
    assert with_result.result_s == pytest.approx(70, abs=5)
    assert (without.arrived_at, without.result_s) == (pytest.approx(now - 900), None)
    assert web.store.find_study("1.1") == with_result
    text = " ".join(re.sub(r"<[^>]+>", "", web.sign_in(Role.VIEWER).get("/").text).split())
    assert f"Arrived {format_time(now - 90)}" in text
    assert f"Arrived {format_time(now - 900)}" in text
    assert text.count("after the last image") == 1
    assert re.search(r"Results 1 min \d+ s after the last image", text)


def test_states_and_findings_filter(web):
    close(web, receive(web, "1.1"), RevisionState.FAILED, decision="fracture")
    close(web, receive(web, "1.2"), decision="uncertain")
    receive(web, "1.3")
    browser = web.sign_in(Role.VIEWER)
    for asked, expected in (
        ({"state": "failed"}, {"1.1"}),
        ({"state": "receiving"}, {"1.3"}),
        ({"state": "done"}, {"1.2"}),
        ({"finding": "fracture"}, {"1.1"}),
        ({"finding": "uncertain", "state": "failed"}, set()),
        ({"state": "no such"}, {"1.1", "1.2", "1.3"}),
    ):
        page = browser.get("/", params=asked).text
        assert {uid for uid in ("1.1", "1.2", "1.3") if f'href="/study/{uid}"' in page} == expected, asked


def test_part_of_a_uid_is_enough_and_is_no_pattern(web):
    for study in ("1.2.345", "1.2.46"):
        receive(web, study)
    assert uids(web, text="2.34") == ["1.2.345"]
    assert uids(web, text="1.2.%") == []
    assert uids(web, text="1_2") == []


def search(browser, text):
    page = browser.post("/", data={"form_token": form_token(browser), "search": text}).text
    for _ in range(100):  # headers are read beside the page
        if "are read so far" not in page:
            return page
        page = browser.post("/", data={"form_token": form_token(browser), "search": text}).text
    pytest.fail("the headers were never read")


def test_those_who_may_see_patients_find_an_accession_number_and_others_do_not(web):
    for study in ("1.1", "1.2"):
        receive(web, study, file=build_dx(AccessionNumber=f"ACC-{study[-1]}", PatientName="Roe^Richard"))
    page = search(web.sign_in(Role.RADIOLOGIST), "acc-2 ")
    assert 'href="/study/1.2"' in page
    assert 'href="/study/1.1"' not in page
    assert "Roe Richard, ACC-2" in page
    assert "No study is like that" in search(web.sign_in(Role.VIEWER), "ACC-2")


def test_a_viewer_sees_no_patient(web):
    receive(web, "1.1", file=build_dx(AccessionNumber="ACC-1", PatientName="Roe^Richard"))
    page = web.sign_in(Role.VIEWER).get("/").text
    assert 'href="/study/1.1"' in page
    assert "Roe" not in page
    assert "ACC-1" not in page


def test_a_hostile_name_is_text(web):
    receive(web, "1.1", file=build_dx(PatientName="<script>alert(1)</script>", AccessionNumber='"><img src=x>'))
    page = web.sign_in(Role.RADIOLOGIST).get("/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert "<img" not in page


def test_a_search_is_text_and_in_no_address(web):
    browser = web.sign_in(Role.RADIOLOGIST)
    answer = browser.post("/", data={"form_token": form_token(browser), "search": '"><script>x</script>'})
    assert "location" not in answer.headers
    assert "<script>x" not in answer.text
    assert "&lt;script&gt;x" in answer.text


def test_the_list_that_a_page_asks_for_is_the_one_that_it_shows(web):
    close(web, receive(web, "1.1"))
    browser = web.sign_in(Role.VIEWER)
    rows = browser.post("/rows", data={"form_token": form_token(browser)}, headers={"X-Live": "1"}).text
    assert "<html" not in rows
    assert rows.strip() in browser.get("/").text


def test_a_parked_result_is_an_alarm_on_the_page(web):
    close(web, receive(web, "1.1"), RevisionState.DELIVERING)
    (due,) = web.store.due_deliveries(time.time())
    web.store.park_open(due, "archive: no such SOP class")
    page = web.sign_in(Role.VIEWER).get("/").text
    assert "1 parked" in page
    assert "no such SOP class" in page


def test_the_statements_are_as_many_for_fifty_studies_as_for_two(web):
    counts = []
    said = []
    sa.event.listen(web.store._engine, "before_cursor_execute", lambda *arguments: said.append(arguments[2]))  # noqa: SLF001
    for many in (2, 50):
        for number in range(many):
            close(web, receive(web, f"1.{many}.{number}"))
        said.clear()
        web.store.worklist(WorklistQuery())
        counts.append(len([one for one in said if one.startswith("SELECT")]))
    assert counts == [5, 5]


def test_no_list_of_all_newest_versions_is_made_before_a_page_is_found(web):
    """To make one, and an index for it, takes longer than all else with ten thousand studies."""
    close(web, receive(web, "1.1"))
    statements = []
    sa.event.listen(
        web.store._engine,  # noqa: SLF001
        "before_cursor_execute",
        lambda *arguments: statements.append(arguments[2:4]),
    )
    for query in ({}, {"states": ("failed",)}, {"decision": "fracture"}, {"text": "1"}):
        web.store.worklist(WorklistQuery(**query))
    web.store.find_study("1.1")
    asked = [(text, values) for text, values in statements if text.startswith("SELECT")]
    assert asked
    with web.store._reading() as connection:  # noqa: SLF001
        for text, values in asked:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            assert not [step for step in plan if "AUTOMATIC" in step or "MATERIALIZE" in step], text


def test_a_long_list_has_pages(web):
    web.store.add_instances([build_row(f"1.{number}.0", f"1.{number}") for number in range(51)])
    browser = web.sign_in(Role.VIEWER)
    first, second = browser.get("/").text, browser.get("/", params={"page": 2}).text
    assert "51 studies, page 1 of 2" in first
    assert (first.count('href="/study/'), second.count('href="/study/')) == (50, 1)
