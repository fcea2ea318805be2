import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_pool import SIDE
from PIL import Image
from typer.testing import CliRunner

from inference.bundle import MANIFEST, REFERENCE, load_bundle, write_manifest
from inference.drift import load_reference
from inference.model import Model
from inference.scope import Scope
from inference.testing import build_tiny_bundles
from inference.types import Radiograph
from models.cli import app
from models.datasets import read_unit_pixels
from models.predictions import FracturePredictions, write_predictions
from models.reference import build_reference

SHIPPED = Path(__file__).resolve().parents[3] / "models" / "bundles"
runner = CliRunner()


def build_predictions(count):
    rng = np.random.default_rng(0)
    numbers, names = np.arange(count), np.array([f"{number}.png" for number in range(count)])
    logit = rng.normal(size=count).astype(np.float32)
    logit[::10] = np.nan
    return FracturePredictions(
        image=names,
        fold=numbers % 5,
        cluster=numbers,
        region=np.where(numbers % 2, "HAND", "KNEE"),
        fractured=numbers % 3 == 0,
        usable=numbers % 7 != 0,
        output=np.full(count, "any"),
        logit=logit,
        probability=logit,
        sensitive=logit,
        specific=logit,
        peak_x=numbers,
        peak_y=numbers,
        final_logit=logit,
    )


def test_the_reference_of_an_answer_is_of_its_own_usable_answered_radiographs(tmp_path):
    (answer,) = load_bundle(build_tiny_bundles(tmp_path, served=["HAND"]) / "tiny_fracture").manifest.answers
    table = build_predictions(400)
    (score,) = build_reference(table, [answer]).scores
    mine = table.usable & (table.region == "HAND") & np.isfinite(table.logit)
    assert score.logits.count == mine.sum()
    assert score.logits.edges[1] == np.quantile(table.logit[mine].astype(np.float64), 0.4)
    assert build_reference(table.select(np.arange(20)), [answer]) is None


def test_a_bundle_from_before_gets_its_reference_and_changes_in_nothing_else(tmp_path):
    folder = build_tiny_bundles(tmp_path) / "tiny_fracture"
    before = load_bundle(folder)
    assert load_reference(before) is None
    write_predictions(folder / "out_of_fold.csv", build_predictions(400))
    for _ in range(2):
        shown = runner.invoke(app, ["reference", str(folder)])
        assert shown.exit_code == 0, shown.output
    after = load_bundle(folder)
    assert load_reference(after) is not None
    digests = {name: digest for name, digest in after.manifest.digests.items() if name != REFERENCE}
    assert after.manifest.model_copy(update={"digests": digests}) == before.manifest


def test_the_shipped_references_are_what_the_command_writes(tmp_path):
    for name in ("fracture", "region"):
        folder = tmp_path / name
        shutil.copytree(SHIPPED / name, folder)
        manifest = load_bundle(folder).manifest
        kept = manifest.model_dump(mode="json", exclude_none=True, exclude={"digests"})
        write_manifest(folder, kept, tuple(file for file in manifest.digests if file != REFERENCE))
        (folder / REFERENCE).unlink()
        assert runner.invoke(app, ["reference", str(folder)]).exit_code == 0
        for file in (REFERENCE, "manifest.toml"):
            assert (folder / file).read_text() == (SHIPPED / name / file).read_text()


def test_a_bundle_without_predictions_is_refused(tmp_path):
    shown = runner.invoke(app, ["reference", str(build_tiny_bundles(tmp_path) / "tiny_fracture")])
    assert shown.exit_code == 1
    assert "carries no out_of_fold.csv" in shown.output


def write_site(folder, logits, name):
    """Draw a radiograph for each logit of the tiny fracture model, -15 + 20 * its brightest cell."""
    place = folder / name
    place.mkdir(parents=True)
    for row, logit in enumerate(logits):
        pixels = np.random.default_rng([row, len(name), ord(name[0])]).uniform(
            0, 20, (SIDE, SIDE)
        )  # no two alike: copies would be one radiograph
        pixels[8:16, 8:16] = 255 * (logit + 15) / 20
        Image.fromarray(np.uint8(np.rint(pixels))).save(place / f"{row}.png")


def test_the_radiographs_of_a_site_can_be_the_reference(tmp_path):
    bundles = build_tiny_bundles(tmp_path / "bundles", served=["HAND"])
    logits = np.random.default_rng(0).uniform(-4, 4, 60)
    write_site(tmp_path / "site", logits[:30], "fractured")
    write_site(tmp_path / "site", logits[30:], "normal")
    words = ["--data", str(tmp_path / "site"), "--layout", "folders", "--region", "HAND"]
    shown = runner.invoke(app, ["reference", str(bundles / "tiny_fracture"), *words])
    assert shown.exit_code == 0, shown.output
    (score,) = load_reference(load_bundle(bundles / "tiny_fracture")).scores
    assert score.logits.count == 60
    assert score.logits.edges[1] == pytest.approx(np.quantile(logits, 0.4), abs=0.1)


def test_the_distances_of_a_site_can_be_the_reference(tmp_path):
    folder = build_tiny_bundles(tmp_path / "bundles") / "tiny_region"
    write_site(tmp_path / "site", np.linspace(-4, 4, 40)[::2], "HAND")
    write_site(tmp_path / "site", np.linspace(-4, 4, 40)[1::2], "KNEE")
    words = ["--data", str(tmp_path / "site"), "--layout", "folders"]
    shown = runner.invoke(app, ["reference", str(folder), *words])
    assert shown.exit_code == 0, shown.output
    found = load_reference(load_bundle(folder))
    assert found.regions == {"HAND": 40}
    scope = Scope.load(folder / "scope.npz")
    middle = scope.distance(np.array([0.75], np.float32))  # of a brightest cell in the middle of those drawn
    below, above = found.scope_distance.edges[1:3]
    assert below < middle < above


def test_the_reference_of_a_site_is_what_a_model_says_after_a_closer_look(tmp_path):
    folder = build_tiny_bundles(tmp_path / "bundles", served=["HAND"]) / "tiny_fracture"
    manifest = folder / MANIFEST
    manifest.write_text(f"second_look = 0.4\n{manifest.read_text()}")
    write_site(tmp_path / "site", np.random.default_rng(0).uniform(-4, 4, 40), "fractured")
    for path in (tmp_path / "site" / "fractured").iterdir():
        pixels = np.asarray(Image.open(path)).copy()
        pixels[11:] = 0  # the spot is smaller than a cell then, of which the first look sees less
        Image.fromarray(pixels).save(path)
    write_site(tmp_path / "site", np.linspace(-4, 4, 20), "normal")
    words = ["--data", str(tmp_path / "site"), "--layout", "folders", "--region", "HAND"]
    shown = runner.invoke(app, ["reference", str(folder), *words])
    assert shown.exit_code == 0, shown.output
    bundle = load_bundle(folder)
    (score,) = load_reference(bundle).scores
    model = Model.load(bundle, runtime="onnx", threads=1)
    radiographs = [Radiograph(pixels=read_unit_pixels(path)) for path in sorted((tmp_path / "site").rglob("*.png"))]
    closer = np.array([model.look_for("any", one).logit for one in radiographs], np.float32)
    once = np.array([model.run(one)[0].logits[0] for one in radiographs], np.float32)
    assert np.abs(closer - once).max() > 0.5
    assert score.logits.edges[1] == pytest.approx(np.quantile(closer.astype(np.float64), 0.4), abs=1e-6)
