"""`fracture-models verify` on the bundles of this repository: what their cards state follows from what they carry."""

from pathlib import Path

import pytest
from fracatlas_pool import REPOSITORY, find_pool
from typer.testing import CliRunner

from models.cli import app

BUNDLES = sorted(path.parent for path in (REPOSITORY / "models" / "bundles").glob("*/manifest.toml"))


def verify(bundle: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["verify", str(bundle), *options])
    output = " ".join(result.output.split())
    assert result.exit_code == 0, output
    assert "computed again from out_of_fold.csv: all as stated" in output
    return output


def test_both_stages_are_shipped() -> None:
    assert [bundle.name for bundle in BUNDLES] == ["fracture", "region"]


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_the_figures_stated_follow_from_the_predictions(bundle: Path) -> None:
    output = verify(bundle)
    unchecked = output.partition("so not computed again: ")[2].partition(" manifest.toml")[0]
    assert "conformal" not in unchecked
    assert ("scope outsiders_refused" in unchecked) is (bundle.name == "region")


@pytest.mark.skipif(find_pool() is None, reason="no FracAtlas folder: set FRACATLAS to run it")
@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_the_shipped_model_answers_as_stated_and_its_peaks_lie_as_stated(bundle: Path) -> None:
    output = verify(bundle, "--data", str(find_pool()), "--sample", "10")
    assert "answers of the shipped model compared: all as stated" in output
    assert "grad_cam_peak_in_box" not in output
