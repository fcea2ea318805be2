import json
import re
import time
from contextlib import closing
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest
from many_studies import fill
from stored_rows import build_row
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.statistics.charts import draw_decisions, draw_times
from dicom_node.statistics.counting import NO_REGION, gather_statistics
from dicom_node.store import ImageStatistic, Store

WEDNESDAY = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()
DAY = 86_400


def make(store, monkeypatch, number, *, at, sender="CR_1", took_s=10.0, **said):
    """Make the results of a study with one image, at a time."""
    study, uid = f"1.2.{number}", f"1.2.{number}.1"
    store.add_instances([build_row(uid, study, received_at=at - took_s, calling_ae_title=sender)])
    store.close_revision(study, at - 1)
    (revision,) = [one for one in store.unmade_revisions() if one.study_instance_uid == study]
    monkeypatch.setattr(time, "time", lambda: at)
    kept = ImageStatistic(sop_instance_uid=uid, **said)
    store.add_results(study, revision.digest, [], [], ["a"], measured=[kept])
    monkeypatch.undo()


def test_images_are_counted_by_week_region_and_sender(store, monkeypatch):
    make(store, monkeypatch, 1, at=WEDNESDAY, decision="fracture", region="HAND", took_s=4)
    make(store, monkeypatch, 2, at=WEDNESDAY - 7 * DAY, decision="no fracture", region="HAND", took_s=6)
    make(store, monkeypatch, 3, at=WEDNESDAY, decision="not analysed", reason="outside scope", sender="CR_2", took_s=50)
    make(store, monkeypatch, 4, at=WEDNESDAY, decision="not analysed", reason="It is a localiser", took_s=5)
    make(store, monkeypatch, 5, at=WEDNESDAY - 60 * DAY, decision="fracture", region="HAND")
    found = gather_statistics(store, weeks=3, now=WEDNESDAY)
    assert found.since == "2026-11-09"
    assert [(one.name, one.images) for one in found.weeks] == [("2026-11-09", 0), ("2026-11-16", 1), ("2026-11-23", 3)]
    hand, nowhere = sorted(found.regions, key=lambda one: one.name)
    assert (hand.name, hand.fracture, hand.no_fracture, hand.times.result_median_s) == ("HAND", 1, 1, 5.0)
    assert (nowhere.name, nowhere.outside_scope, nowhere.otherwise_not_analysed) == (NO_REGION, 1, 1)
    assert [(one.name, one.images, one.times.result_median_s) for one in found.senders] == [
        ("CR_1", 3, 5.0),
        ("CR_2", 1, 50.0),
    ]
    assert found.reasons == (("It is a localiser", 1), ("outside scope", 1))
    assert (found.total.images, found.total.times.versions, found.total.times.proof_median_s) == (4, 4, None)


def test_the_week_begins_on_monday_at_midnight(store, monkeypatch):
    monday = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
    make(store, monkeypatch, 1, at=monday - 1, decision="fracture")
    make(store, monkeypatch, 2, at=monday, decision="fracture")
    assert [one.images for one in gather_statistics(store, weeks=2, now=monday).weeks] == [1, 1]
    assert [one.images for one in gather_statistics(store, weeks=1, now=monday - 1).weeks] == [1]


def test_a_version_with_images_of_two_regions_is_counted_once(store, monkeypatch):
    uids = ["1.2.1.1", "1.2.1.2"]
    store.add_instances([build_row(uid, "1.2.1", received_at=WEDNESDAY - 5) for uid in uids])
    store.close_revision("1.2.1", WEDNESDAY)
    (revision,) = store.unmade_revisions()
    monkeypatch.setattr(time, "time", lambda: WEDNESDAY)
    kept = [
        ImageStatistic(sop_instance_uid=uid, decision="fracture", region=region)
        for uid, region in zip(uids, ("HAND", "KNEE"), strict=True)
    ]
    store.add_results("1.2.1", revision.digest, [], [], ["a"], measured=kept)
    found = gather_statistics(store, weeks=1, now=WEDNESDAY)
    assert found.total.times.versions == 1
    assert [one.times.versions for one in found.regions] == [1, 1]


def test_nothing_is_said_of_a_patient_or_a_study(store):
    fill(store, 5, until=WEDNESDAY, every_s=600)
    assert "2.25" not in repr(gather_statistics(store, weeks=1, now=WEDNESDAY))


def test_a_chart_says_in_words_what_it_shows(store):
    fill(store, 40, until=WEDNESDAY, every_s=DAY)
    found = gather_statistics(store, weeks=6, now=WEDNESDAY)
    root = ET.fromstring(draw_decisions(found.weeks, title="Answers & weeks"))  # noqa: S314  # our own
    assert root.get("role") == "img"
    assert root.get("aria-label") == f"Answers & weeks: {found.total.images} images"
    drawn = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert f"{found.weeks[0].name}: {found.weeks[0].fracture} fracture" in drawn
    counted = [int(re.search(r": (\d+) ", text)[1]) for text in drawn[1:]]
    assert sum(counted) == found.total.images


def test_the_chart_of_times_is_as_high_as_what_it_says(store, monkeypatch):
    for number, took_s in enumerate((10, 20, 60)):
        make(store, monkeypatch, number, at=WEDNESDAY, decision="fracture", region="HAND", took_s=took_s)
    found = gather_statistics(store, weeks=2, now=WEDNESDAY)
    root = ET.fromstring(draw_times(found.weeks, title="Time to result"))  # noqa: S314  # our own
    svg = "{http://www.w3.org/2000/svg}"
    said = {
        piece.find(f"{svg}title").text: float(piece.get("height")) for piece in root.iter(f"{svg}rect") if len(piece)
    }
    assert list(said) == [
        "2026-11-23: half of the results within 20.0 s",
        "2026-11-23: 19 of 20 results within 56.0 s",
    ]
    half, rest = said.values()
    assert rest / half == pytest.approx(36 / 20, abs=0.01)


def test_a_chart_of_nothing_is_a_chart():
    assert "<svg" in draw_decisions([], title="Answers")
    assert "<svg" in draw_times([], title="Time to result")


def test_the_command_prints_tables_json_and_charts(tmp_path):
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{tmp_path}"\n[[senders]]\nae_title = "A"\n'
        '[[destinations]]\nname = "archive"\nae_title = "A"\nhost = "127.0.0.1"\nport = 104\n'
    )
    with closing(Store(f"sqlite:///{tmp_path / 'node.sqlite'}")) as store:
        fill(store, 20, until=time.time(), every_s=60)
    run = CliRunner()
    shown = run.invoke(app, ["statistics", "--config", str(config), "--charts", str(tmp_path / "charts")])
    assert shown.exit_code == 0, shown.output
    assert "CR_ROOM_1" in shown.output
    assert "not analysed versions to result" in " ".join(shown.output.split())
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == [
        "regions.svg",
        "senders.svg",
        "times-regions.svg",
        "times-senders.svg",
        "times.svg",
        "weeks.svg",
    ]
    for name, title, group in (
        ("times", "week", ""),
        ("times-regions", "region", "HAND"),
        ("times-senders", "sender", "CR_ROOM_1"),
    ):
        chart = (tmp_path / "charts" / f"{name}.svg").read_text()
        assert f"<title>Time to result by {title} since" in chart
        assert group in chart
    said = json.loads(run.invoke(app, ["statistics", "--config", str(config), "--json", "--weeks", "2"]).output)
    assert said["total"]["images"] == 60
    assert len(said["weeks"]) == 2
