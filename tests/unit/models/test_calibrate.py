"""`fracture-models calibrate` on drawn radiographs whose calibration is known."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_pool import SIDE, Drawn, write_pool
from PIL import Image
from scipy.special import expit
from typer.testing import CliRunner

from inference.bundle import MANIFEST, ONNX, load_bundle, write_manifest
from inference.model import Model
from inference.testing import build_tiny_bundles
from inference.types import Radiograph
from models.cli import app
from models.datasets import Sample, read_unit_pixels
from models.recalibration import ReversedError, TooFewError, recalibrate
from models.region_calibration import calibrate_regions

runner = CliRunner()


def write_samples(folder: Path, logits: Any, fractured: Any, regions: list[str]) -> list[Sample]:
    """Draw a radiograph for each logit of the tiny fracture model, -15 + 20 * its brightest cell."""
    folder.mkdir()
    samples = []
    for row, logit in enumerate(logits):
        pixels = np.zeros((SIDE, SIDE))
        pixels[8:16, 8:16] = 255 * (logit + 15) / 20
        path = folder / f"{row}.png"
        Image.fromarray(np.uint8(np.rint(pixels))).save(path)
        known = bool(fractured[row])
        samples.append(
            Sample(
                path=path, number=100 * row, region=regions[row], fractured=known, group=path.name, label=regions[row]
            )
        )
    return samples


def load(folder: Path) -> Model:
    return Model.load(load_bundle(folder), runtime="onnx", threads=1)


def steps(rows: Any, _: str) -> Any:
    return iter(rows)


def test_platt_and_operating_points_become_those_of_the_site(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    logits = rng.uniform(-4, 4.5, 600)
    fractured = rng.random(600) < expit(0.5 * logits - 1)
    samples = write_samples(tmp_path / "site", logits, fractured, ["HAND"] * 600)
    model = load(build_tiny_bundles(tmp_path / "b") / "tiny_fracture")
    fields, told = recalibrate(model, samples, region=None, progress=steps)
    [answer], [one] = fields["answers"], told["answers"]
    assert answer["slope"] == pytest.approx(0.5, abs=0.1)
    assert answer["intercept"] == pytest.approx(-1, abs=0.25)
    probabilities = expit(answer["slope"] * logits + answer["intercept"])
    assert (probabilities[fractured] >= answer["sensitive"]).mean() == pytest.approx(0.95, abs=0.02)
    assert (probabilities[~fractured] < answer["specific"]).mean() > 0.93
    # Before: probabilities at twice the slope, too high; after: of radiographs the fit has not seen.
    assert one["before"]["expected_calibration_error"]["value"] > 0.1
    assert one["after"]["expected_calibration_error"]["value"] < 0.06
    assert one["after"]["brier_score"]["value"] < one["before"]["brier_score"]["value"]


def test_a_group_with_too_few_fractures_keeps_its_calibration(tmp_path: Path) -> None:
    folder = split_answers(build_tiny_bundles(tmp_path / "b") / "tiny_fracture", ("HAND", "LEG"))
    rng = np.random.default_rng(1)
    fractured = np.arange(100) % 2 == 0
    regions = ["HAND"] * 61 + ["LEG"] * 39
    samples = write_samples(tmp_path / "site", rng.uniform(-4, 3, 100) + fractured, fractured, regions)
    fields, told = recalibrate(load(folder), samples, region=None, progress=steps)
    hand, leg = fields["answers"]
    assert leg["slope"] == 1.0
    assert hand["slope"] != 1.0
    assert [(one["fitted"], one["radiographs"], one["fractures"]) for one in told["answers"]] == [
        (True, 61, 31),
        (False, 39, 19),
    ]


def split_answers(folder: Path, regions: tuple[str, ...], **fields: Any) -> Path:
    """Give each of the regions an answer of its own."""
    given = load_bundle(folder).manifest.model_dump(mode="json", exclude_none=True, exclude={"digests"})
    [answer] = given.pop("answers")
    write_manifest(folder, given | {"answers": [answer | fields | {"regions": [one]} for one in regions]}, (ONNX,))
    return folder


def test_a_site_is_calibrated_by_the_rule_of_training(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    regions = np.repeat(["HAND", "LEG", "HIP", "KNEE"], (240, 90, 90, 30))
    logits = rng.uniform(-4, 4.5, regions.size)
    fractured = rng.random(regions.size) < expit(0.7 * logits - 1 + (regions == "HIP"))
    samples = write_samples(tmp_path / "site", logits, fractured, regions.tolist())
    conformal = {"coverage": 0.9, "fracture_at_least": 0.1, "no_fracture_at_most": 0.9}
    folder = split_answers(
        build_tiny_bundles(tmp_path / "b") / "tiny_fracture", ("HAND", "LEG", "HIP", "KNEE"), **conformal
    )
    model = load(folder)
    fields, told = recalibrate(model, samples, region=None, progress=steps)
    used = regions != "KNEE"
    said = [float(model.run(Radiograph(pixels=read_unit_pixels(one.path)))[0].logits[0]) for one in samples]
    expected = calibrate_regions(
        np.array(said)[used], fractured[used], regions[used], ("HAND", "LEG", "HIP"), miscoverage=0.1
    )
    for answer, (region, found) in zip(fields["answers"], expected.items(), strict=False):
        assert answer["regions"] == [region]
        stated = found.platt._asdict() | found.points._asdict() | found.limits._asdict()
        assert {name: answer[name] for name in stated} == pytest.approx(stated)
    # LEG and HIP have few fractures: they share a slope, as in training, and each has an intercept of its own.
    hand, leg, hip, knee = fields["answers"]
    assert leg["slope"] == hip["slope"] != hand["slope"]
    assert leg["intercept"] != hip["intercept"]
    assert (knee["slope"], told["answers"][3]["fitted"]) == (1.0, False)


def test_labels_that_say_the_reverse_of_the_model_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    logits = rng.uniform(-4, 4.5, 120)
    samples = write_samples(tmp_path / "site", logits, rng.random(120) < expit(-logits), ["HAND"] * 120)
    model = load(build_tiny_bundles(tmp_path / "b", served=["HAND"]) / "tiny_fracture")
    with pytest.raises(ReversedError, match="HAND: the more the model sees of a fracture, the fewer"):
        recalibrate(model, samples, region=None, progress=steps)


def test_fractures_of_one_patient_alone_are_refused(tmp_path: Path) -> None:
    fractured = np.arange(100) < 30
    samples = write_samples(tmp_path / "site", np.linspace(4, -4, 100), fractured, ["HAND"] * 100)
    one = [replace(sample, patient="P1" if sample.fractured else "") for sample in samples]
    model = load(build_tiny_bundles(tmp_path / "b", served=["HAND"]) / "tiny_fracture")
    with pytest.raises(TooFewError, match="of one patient or group"):
        recalibrate(model, one, region=None, progress=steps)


def test_only_regions_of_which_there_are_radiographs_are_counted(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "site", np.zeros(60), np.arange(60) < 19, ["KNEE"] * 60)
    folder = split_answers(build_tiny_bundles(tmp_path / "b") / "tiny_fracture", ("HAND", "LEG", "KNEE", "HIP"))
    with pytest.raises(TooFewError, match=r"found KNEE: 19 and 41$"):
        recalibrate(load(folder), samples, region=None, progress=steps)


def test_too_few_fractures_are_refused_with_their_number(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "site", np.zeros(60), np.arange(60) < 19, ["KNEE"] * 60)
    model = load(build_tiny_bundles(tmp_path / "b", served=["KNEE"]) / "tiny_fracture")
    with pytest.raises(TooFewError, match=r"takes 20 radiographs with a fracture and 20 without.*KNEE: 19 and 41"):
        recalibrate(model, samples, region=None, progress=steps)


def test_a_region_told_stands_for_those_the_data_set_does_not_name(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    fractured = np.arange(60) % 2 == 0
    samples = write_samples(tmp_path / "site", rng.uniform(-4, 3, 60) + fractured, fractured, [""] * 60)
    model = load(build_tiny_bundles(tmp_path / "b") / "tiny_fracture")
    with pytest.raises(TooFewError, match="found none of its regions"):
        recalibrate(model, samples, region=None, progress=steps)
    _, told = recalibrate(model, samples, region="HIP", progress=steps)
    assert told["answers"][0]["radiographs"] == 60


def test_types_are_known_however_their_folders_are_spelled(tmp_path: Path) -> None:
    """As an evaluation knows them; passed over, they would be missing from the calibration without a word."""
    labels = ["Spiral", "oblique", "AVULSION fracture"] * 20
    samples = write_samples(tmp_path / "site", np.zeros(60), np.ones(60), labels)
    model = load(build_tiny_bundles(tmp_path / "b", types=("spiral", "oblique", "avulsion_fracture")) / "tiny_type")
    _, told = recalibrate(model, samples, region=None, progress=steps)
    assert told["radiographs"] == 60


def test_the_temperature_of_a_region_model_becomes_that_of_the_site(tmp_path: Path) -> None:
    # It always says HAND with a logit of 10 before nine of 0; it is right in 70 % of the cases.
    regions = ["HAND"] * 70 + ["LEG"] * 30
    samples = write_samples(tmp_path / "site", np.zeros(100), np.zeros(100), regions)
    fields, told = recalibrate(
        load(build_tiny_bundles(tmp_path / "b") / "tiny_region"), samples, region=None, progress=steps
    )
    share = np.exp(10 / fields["region"]["temperature"])
    assert share / (share + 9) == pytest.approx(0.7, abs=0.005)
    assert fields["region"]["scope_threshold"] == 0.99
    assert told["before"]["expected_calibration_error"]["value"] == pytest.approx(0.3, abs=0.01)
    assert told["after"]["expected_calibration_error"]["value"] < 0.1


@pytest.fixture
def site(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    drawn = [
        Drawn(
            fractured=index % 2 == 0,
            spot=float(rng.uniform(0.55, 0.9) + 0.08 * (index % 2 == 0)),
            at=(4 * (index % 14), 4 * (index // 14)),
        )
        for index in range(56)
    ]
    return write_pool(tmp_path / "site", drawn)


def run(bundle: Path, site: Path, out: Path) -> tuple[int, str]:
    result = runner.invoke(app, ["calibrate", str(bundle), "--data", str(site), "--out", str(out)])
    return result.exit_code, " ".join(result.output.split())


def test_the_new_bundle_keeps_the_weights_and_tells_where_its_calibration_is_from(tmp_path: Path, site: Path) -> None:
    bundle = build_tiny_bundles(tmp_path / "b") / "tiny_fracture"
    (bundle / "card.md").write_text("# tiny-fracture 0.0.1\n\nWhat it was made from.\n")
    (bundle / "metrics.json").write_text('{"figures": {"all": 1}}')
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    code, output = run(bundle, site, tmp_path / "new")
    assert code == 0, output
    new = load_bundle(tmp_path / "new")
    assert new.manifest.version == "0.0.2"
    assert new.manifest.digests == load_bundle(bundle).manifest.digests
    assert new.manifest.answers[0].slope != 1.0
    metrics = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert metrics["figures"] == {"all": 1}
    assert metrics["calibration"]["from_version"] == "0.0.1"
    assert metrics["calibration"]["data"]["samples"] == 56
    card = (tmp_path / "new" / "card.md").read_text()
    assert card.startswith("# tiny-fracture 0.0.2\n\nWhat it was made from.\n\n## Calibrated again\n")
    assert "56 radiographs of `site`, layout fracatlas" in card
    assert "probabilities mean the share of fractures among these radiographs" in card
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_a_second_calibration_takes_the_place_of_the_first_on_the_card(tmp_path: Path, site: Path) -> None:
    bundle = build_tiny_bundles(tmp_path / "b") / "tiny_fracture"
    assert run(bundle, site, tmp_path / "once")[0] == 0
    assert run(tmp_path / "once", site, tmp_path / "twice")[0] == 0
    card = (tmp_path / "twice" / "card.md").read_text()
    assert card.startswith("# tiny-fracture 0.0.3\n")
    assert card.count("## Calibrated again") == 1


def test_nothing_is_written_over(tmp_path: Path, site: Path) -> None:
    bundle = build_tiny_bundles(tmp_path / "b") / "tiny_fracture"
    code, output = run(bundle, site, bundle)
    assert code == 1
    assert "exists already" in output


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_answered(tmp_path: Path) -> None:
    """The data are not even looked at."""
    bundle = build_tiny_bundles(tmp_path / "b") / "tiny_fracture"
    (tmp_path / "file").touch()
    code, output = run(bundle, tmp_path, tmp_path / "file" / "new")
    assert (code, "is a file" in output) == (1, True), output


def test_the_pool_that_the_bundle_was_made_from_is_refused(tmp_path: Path, site: Path) -> None:
    bundle = build_tiny_bundles(tmp_path / "b") / "tiny_fracture"
    (bundle / "out_of_fold.csv").write_text("image\nIMG0000100.png\n")
    code, output = run(bundle, site, tmp_path / "new")
    assert code == 1
    assert "1 of these 56 radiographs" in output
    assert not (tmp_path / "new").exists()


def test_a_model_that_looks_closer_is_calibrated_by_what_it_then_says(tmp_path: Path) -> None:
    """Of spots smaller than a cell the first look sees less than the second."""
    rng = np.random.default_rng(6)
    logits = rng.uniform(-4, 4.5, 120)
    samples = write_samples(tmp_path / "site", logits, rng.random(120) < expit(logits), ["HAND"] * 120)
    for sample in samples:
        pixels = np.asarray(Image.open(sample.path)).copy()
        pixels[11:] = 0
        Image.fromarray(pixels).save(sample.path)
    folder = build_tiny_bundles(tmp_path / "b", served=["HAND"]) / "tiny_fracture"
    manifest = folder / MANIFEST
    manifest.write_text(f"second_look = 0.4\n{manifest.read_text()}")
    model = load(folder)
    fields, _ = recalibrate(model, samples, region=None, progress=steps)
    radiographs = [Radiograph(pixels=read_unit_pixels(one.path)) for one in samples]
    closer = np.array([model.look_for("any", one).logit for one in radiographs])
    once = np.array([model.run(one)[0].logits[0] for one in radiographs])
    assert np.abs(closer - once).max() > 0.5
    labels = np.array([bool(one.fractured) for one in samples])
    expected = calibrate_regions(closer, labels, np.full(120, "0"), ("0",), miscoverage=0.05)["0"]
    assert fields["answers"][0]["slope"] == pytest.approx(expected.platt.slope)
    assert fields["answers"][0]["intercept"] == pytest.approx(expected.platt.intercept)
