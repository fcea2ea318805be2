import json
from contextlib import closing

import numpy as np
import pytest
from typer.testing import CliRunner

from dicom_node.alerts.conditions import Kind, find_conditions
from dicom_node.cli import app
from dicom_node.settings import AlertSettings, Destination, ModelSettings, NodeSettings, Sender, Settings
from dicom_node.statistics import drift as drift_module
from dicom_node.statistics.drift import Seldom, assess_drift
from dicom_node.store import Store
from dicom_node.store.schema import image_statistics
from inference.bundle import load_bundle
from inference.drift import Reference, ScoreReference, describe_distribution
from inference.testing import build_tiny_bundles
from models.reference import add_reference

NOW = 1_000_000_000.0
DAY = 86_400
FRACTURE, REGION = "tiny-fracture 0.0.1", "tiny-region 0.0.1"


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))


def draw(count, *, seed=0):
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


@pytest.fixture
def bundles(tmp_path):
    folder = build_tiny_bundles(tmp_path / "bundles", served=["HAND"])
    scores = ScoreReference(output="any", regions=("HAND",), logits=describe_distribution(draw(2000)))
    add_reference(load_bundle(folder / "tiny_fracture"), Reference(scores=(scores,)))
    far = describe_distribution(np.abs(draw(2000, seed=1)))
    add_reference(
        load_bundle(folder / "tiny_region"), Reference(scope_distance=far, regions={"HAND": 1000, "KNEE": 1000})
    )
    return folder


@pytest.fixture
def settings(tmp_path, bundles):
    return Settings(
        node=NodeSettings(ae_title="FRACTUREAI", data_dir=tmp_path / "var"),
        senders=(Sender(ae_title="ORTHANC"),),
        destinations=(Destination(name="archive", ae_title="ORTHANC", host="127.0.0.1", port=4242),),
        models=ModelSettings(bundles=bundles),
        alerts=AlertSettings(free_mb=0),
    )


@pytest.fixture
def store(settings):
    with closing(Store(settings.database_url)) as store:
        yield store


def see(store, logits, *, at=NOW - DAY, model=FRACTURE, images=1, region="HAND", distances=None):
    """Add what was said of the images of one study for each logit."""
    far = np.abs(draw(len(logits), seed=5)) if distances is None else distances
    rows = [
        {
            "study_instance_uid": f"2.25.{number}.{at:.0f}.{model[-1]}",
            "sop_instance_uid": f"2.25.{number}.{image}",
            "made_at": at,
            "sender": "CR",
            "decision": "fracture",
            "region": region,
            "probability": float(probability),
            "reason": "",
            "region_model": REGION,
            "fracture_model": model,
            "scope_distance": float(far[number]),
        }
        for number, probability in enumerate(sigmoid(logits))
        for image in range(images)
    ]
    with store._writing() as connection:  # noqa: SLF001  # hundreds of rows at once
        connection.execute(image_statistics.insert(), rows)


def kinds(settings, store):
    return [(one.kind, one.subject) for one in find_conditions(settings, store, NOW)]


def test_what_looks_as_it_was_measured_raises_nothing(settings, store):
    see(store, draw(400, seed=2))
    scores, far, mix = assess_drift(settings, store, NOW)
    assert scores.comparison.is_trusted
    assert scores.comparison.psi < 0.1
    assert far.comparison.psi < 0.1
    assert mix.comparison.has_drifted
    assert not mix.is_alarm
    assert kinds(settings, store) == []


def test_scores_that_moved_are_an_alarm_without_a_uid(settings, store):
    see(store, draw(400, seed=2) + 1.0)
    (one,) = find_conditions(settings, store, NOW)
    assert (one.kind, one.subject) == (Kind.DRIFT, f"{FRACTURE}: the spread of scores for HAND")
    assert "threshold 0.2" in one.says
    assert "2.25" not in one.says


def test_images_that_lie_further_from_what_the_model_knows_are_an_alarm(settings, store):
    see(store, draw(400, seed=2), distances=np.abs(draw(400, seed=5)) + 0.7)
    assert kinds(settings, store) == [(Kind.DRIFT, f"{REGION}: the distance from what it knows")]


def test_few_studies_raise_nothing_however_many_images_they_have(settings, store):
    see(store, draw(100, seed=2) + 1.0, images=10)
    scores = assess_drift(settings, store, NOW)[0]
    assert scores.comparison.psi > 0.2
    assert (scores.images, scores.comparison.count) == (1000, 100)
    assert kinds(settings, store) == []


def test_what_another_version_said_or_what_is_long_ago_is_not_compared(settings, store):
    see(store, draw(400, seed=2) + 1.0, model="tiny-fracture 0.0.0")
    see(store, draw(400, seed=3) + 1.0, at=NOW - 29 * DAY)
    assert assess_drift(settings, store, NOW)[0].images == 0


def test_a_calibration_of_the_site_changes_no_drift(settings, store):
    """The reference holds logits: other probabilities for the same radiographs are no change of what is seen."""
    folder = settings.models.bundles / "tiny_fracture"
    manifest = (folder / "manifest.toml").read_text()
    (folder / "manifest.toml").write_text(manifest.replace("slope = 1.0", "slope = 0.5"))
    see(store, draw(400, seed=2) * 0.5)
    assert assess_drift(settings, store, NOW)[0].comparison.psi < 0.1


def test_a_bundle_without_a_reference_says_so(settings, store):
    folder = settings.models.bundles / "tiny_fracture"
    manifest = (folder / "manifest.toml").read_text().splitlines()
    (folder / "manifest.toml").write_text("\n".join(line for line in manifest if "reference.json" not in line))
    assert assess_drift(settings, store, NOW)[0].comparison is None


@pytest.mark.parametrize("how", ["no days", "no bundles"])
def test_where_there_is_nothing_to_compare_nothing_is_said(settings, store, tmp_path, how):
    see(store, draw(400) + 3)
    update = (
        {"alerts": AlertSettings(drift_days=0)} if how == "no days" else {"models": ModelSettings(bundles=tmp_path)}
    )
    assert assess_drift(settings.model_copy(update=update), store, NOW) == ()


def test_who_asks_often_is_answered_from_memory_for_an_hour(settings, store, monkeypatch):
    asked = []
    monkeypatch.setattr(drift_module, "assess_drift", lambda *_: asked.append(1) or ())
    seldom = Seldom()
    for at in (NOW, NOW + 60, NOW + 3599, NOW + 3600, NOW + 3700, NOW - 10_000):
        seldom(settings, store, at)
    assert len(asked) == 3


def test_the_command_shows_index_and_judgement(settings, store, tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW)
    see(store, draw(400, seed=2) + 1.0)
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{settings.node.data_dir}"\n[[senders]]\nae_title = "A"\n'
        '[[destinations]]\nname = "archive"\nae_title = "A"\nhost = "127.0.0.1"\nport = 104\n'
        f'[models]\nbundles = "{settings.models.bundles}"\n'
    )
    run = CliRunner()
    shown = run.invoke(app, ["statistics", "--config", str(config)]).output
    assert "DRIFTED" in shown
    assert "another mix, which raises nothing" in shown
    said = json.loads(run.invoke(app, ["statistics", "--config", str(config), "--json"]).output)
    assert said["drift"][0]["comparison"]["psi"] > 0.2
