"""`fracture-models evaluate` on a drawn pool, with the tiny bundles."""

import json
from pathlib import Path
from typing import Any

import pytest
from drawn_pool import MIXED, Drawn, write_pool
from PIL import Image
from typer.testing import CliRunner

from inference.testing import build_tiny_bundles
from models.cli import app
from models.predictions import FracturePredictions, read_predictions

runner = CliRunner()


def evaluate(bundle: Path, pool: Path, *options: str) -> str:
    result = runner.invoke(app, ["evaluate", str(bundle), "--data", str(pool), *options])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluate")
    evaluate(build_tiny_bundles(folder / "bundles"), write_pool(folder / "pool"), "--out", str(folder / "report"))
    return folder / "report"


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_answered(tmp_path: Path) -> None:
    """The data are not even looked at."""
    (tmp_path / "file").touch()
    bundles = build_tiny_bundles(tmp_path / "bundles")
    words = ["evaluate", str(bundles), "--data", str(tmp_path), "--out", str(tmp_path / "file" / "report")]
    result = runner.invoke(app, words)
    assert (result.exit_code, "is a file" in " ".join(result.output.split())) == (1, True), result.output


@pytest.fixture(scope="module")
def report(written: Path) -> Any:
    return json.loads((written / "report.json").read_text())


def test_the_pipelines_answers_are_counted(report: Any) -> None:
    assert report["radiographs"] == 16
    assert report["decisions"] == {"fracture": 6, "uncertain": 2, "no fracture": 7, "not analysed": 1}
    assert report["fracture"]["confusion"]["rows_are_actual"] == [[5, 1, 1, 0], [1, 1, 6, 1]]
    [reason] = [words for words in report["reasons"] if words.startswith("outside scope")]
    # What differs between radiographs is no reason of its own.
    assert "(" not in reason


def test_figures_rest_on_the_radiographs_that_were_answered(report: Any) -> None:
    together = report["fracture"]["all"]
    assert (together["radiographs"], together["fractures"]) == (15, 7)
    assert together["sensitivity_at_sensitive_point"]["value"] == pytest.approx(6 / 7, abs=1e-4)
    assert together["precision_at_specific_point"]["value"] == pytest.approx(5 / 6, abs=1e-4)
    assert together["uncertain"]["value"] == pytest.approx(2 / 15, abs=1e-4)
    assert report["fracture"]["regions"]["LEG"]["radiographs"] == 1


def test_the_pointing_game_is_played_where_there_are_boxes(report: Any) -> None:
    assert report["fracture"]["grad_cam_peak_in_box"]["all"]["value"] == pytest.approx(5 / 6, abs=1e-4)
    assert report["fracture"]["without_peak"] == 0


def test_region_and_scope_are_judged(report: Any) -> None:
    assert report["region"]["accuracy"]["value"] == pytest.approx(14 / 16, abs=1e-4)
    assert report["region"]["regions"]["LEG"]["recall"]["value"] == 0
    # Of the 15 that were named, all as HAND and nearly surely; the refused one states no probability.
    assert report["region"]["expected_calibration_error"]["value"] == pytest.approx(1 - 14 / 15, abs=1e-3)
    assert report["region"]["scope"]["refused_of_named_regions"]["value"] == pytest.approx(1 / 16, abs=1e-4)
    assert report["region"]["confusion"]["labels"] == ["HAND", "LEG", "outside scope"]


def test_the_report_shows_figures_and_pictures_that_are_there(written: Path, report: Any) -> None:
    text = (written / "report.md").read_text()
    auc = report["fracture"]["all"]["auc"]
    assert f"| AUC | {auc['value']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}) |" in text
    shown = {line.partition("](")[2].rstrip(")\n") for line in text.splitlines() if line.startswith("![")}
    names = ["confusion", "roc", "precision_recall", "reliability", "missed", "false_alarms", "hits", "regions"]
    assert shown == {f"figures/{name}.png" for name in names}
    for picture in shown:
        with Image.open(written / picture) as image:
            assert min(image.size) > 200


def test_the_table_of_answers_is_beside_the_report(written: Path) -> None:
    table = read_predictions(written / "fractures.csv", FracturePredictions)
    assert len(table) == 16
    assert (table.output == "").sum() == 1
    assert (table.peak_x[0], table.peak_y[0]) == (pytest.approx(15, abs=3), pytest.approx(23, abs=3))


def test_one_fracture_bundle_alone_takes_the_region_from_the_labels(tmp_path: Path) -> None:
    bundles = build_tiny_bundles(tmp_path / "bundles", served=["HAND"])
    pool = write_pool(tmp_path / "pool")
    evaluate(bundles / "tiny_fracture", pool, "--out", str(tmp_path / "report"))
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["reasons"]["no validated model for region LEG"] == 1
    # The black one is answered: stage 1, which would refuse it, is not asked.
    assert report["decisions"]["no fracture"] == 8
    assert "region" not in report


def test_one_region_bundle_alone_names_regions_and_refuses(tmp_path: Path) -> None:
    bundles = build_tiny_bundles(tmp_path / "bundles")
    output = evaluate(bundles / "tiny_region", write_pool(tmp_path / "pool"))
    assert "0.875" in output
    assert "AUC" not in output


def build_folders(folder: Path) -> Path:
    pool = write_pool(folder / "drawn")
    for drawn, path in zip(MIXED, sorted((pool / "images").iterdir()), strict=True):
        place = folder / "folders" / ("fractured" if drawn.fractured else "normal")
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    return folder / "folders"


def test_folders_without_regions_are_routed_by_stage_1(tmp_path: Path) -> None:
    output = evaluate(build_tiny_bundles(tmp_path / "b", region="KNEE"), build_folders(tmp_path), "--layout", "folders")
    assert "15, 7 with a fracture" in output


def test_limbs_whose_region_nothing_tells_do_not_count_as_outsiders(tmp_path: Path) -> None:
    bundles = build_tiny_bundles(tmp_path / "b", region="KNEE")
    evaluate(bundles, build_folders(tmp_path), "--layout", "folders", "--out", str(tmp_path / "report"))
    scope = json.loads((tmp_path / "report" / "report.json").read_text())["region"]["scope"]
    assert scope["refused_of_untold_regions"]["value"] == pytest.approx(1 / 16, abs=1e-4)
    assert [scope[f"refused_of_{which}_regions"]["value"] for which in ("named", "other")] == [None, None]
    assert "| refused, of all else | - |" in (tmp_path / "report" / "report.md").read_text()


def test_a_region_told_skips_stage_1(tmp_path: Path) -> None:
    bundles, folders = build_tiny_bundles(tmp_path / "b"), build_folders(tmp_path)
    for bundle in (bundles, bundles / "tiny_fracture"):
        output = evaluate(bundle, folders, "--layout", "folders", "--region", "HIP")
        # The black one too, which stage 1 would refuse.
        assert "16, 7 with a fracture" in output


@pytest.mark.parametrize("chosen", ["", "tiny_type"])
def test_types_are_judged_where_the_data_set_names_them(tmp_path: Path, chosen: str) -> None:
    types = ["OBLIQUE", "SPIRAL", "GREEN_STICK", "HAIRLINE"]
    bundles = build_tiny_bundles(tmp_path / "b", types=types)
    pool = write_pool(tmp_path / "drawn", [Drawn(fractured=True, spot=1.0, at=(4 * n, 20)) for n in range(6)])
    named = ["oblique", "oblique", "green stick", "green stick", "hairline", "hairline"]
    for name, path in zip(named, sorted((pool / "images").iterdir()), strict=True):
        (tmp_path / "types" / name).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "types" / name / path.name)
    options = ["--layout", "folders", "--out", str(tmp_path / "report")]
    evaluate(bundles / chosen, tmp_path / "types", *options)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["type"]["accuracy"]["value"] == pytest.approx(2 / 6, abs=1e-4)
    assert report["type"]["top_3_accuracy"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    assert report["type"]["confusion"]["labels"] == ["OBLIQUE", "GREEN_STICK", "HAIRLINE"]
    # Classes that are types say nothing of fractures.
    assert "fracture" not in report
    assert (tmp_path / "report" / "figures" / "types.png").is_file()


def test_a_fracture_bundle_alone_needs_a_region(tmp_path: Path) -> None:
    bundle, folders = build_tiny_bundles(tmp_path / "b") / "tiny_fracture", build_folders(tmp_path)
    result = runner.invoke(app, ["evaluate", str(bundle), "--data", str(folders), "--layout", "folders"])
    assert result.exit_code == 1
    assert "--region" in result.output


def test_a_region_that_no_bundle_serves_is_refused(tmp_path: Path) -> None:
    bundles = build_tiny_bundles(tmp_path / "b", served=["HAND", "LEG"])
    result = runner.invoke(app, ["evaluate", str(bundles), "--data", str(tmp_path), "--region", "HIP"])
    assert result.exit_code == 1
    assert "speaks for HAND, LEG" in " ".join(result.output.split())


def test_a_radiograph_too_small_for_the_models_is_counted_not_fatal(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool")
    with Image.open(pool / "images" / "IMG0000000.png") as image:
        small = image.resize((40, 40))
    small.save(pool / "images" / "IMG0000000.png")
    output = evaluate(build_tiny_bundles(tmp_path / "b"), pool)
    assert "not accepted" in output


def test_the_pool_that_a_bundle_was_made_from_is_recognised(tmp_path: Path) -> None:
    from models.datasets import LAYOUTS
    from models.pool import describe

    bundles, pool = build_tiny_bundles(tmp_path / "b"), write_pool(tmp_path / "pool")
    assert "flatter" not in evaluate(bundles, pool)
    metrics = {"data": describe(LAYOUTS["fracatlas"](pool))}
    (bundles / "tiny_fracture" / "metrics.json").write_text(json.dumps(metrics))
    assert "tiny_fracture was trained on these very radiographs" in " ".join(evaluate(bundles, pool).split())


def test_the_radiographs_that_a_bundle_was_calibrated_to_are_recognised(tmp_path: Path) -> None:
    from models.datasets import LAYOUTS
    from models.pool import describe

    bundles, site = build_tiny_bundles(tmp_path / "b"), write_pool(tmp_path / "site")
    metrics = {"data": {"digest": "of the pool"}, "calibration": {"data": describe(LAYOUTS["fracatlas"](site))}}
    (bundles / "tiny_fracture" / "metrics.json").write_text(json.dumps(metrics))
    output = " ".join(evaluate(bundles, site).split())
    assert "tiny_fracture was calibrated on these very radiographs: probabilities and decisions flatter" in output
    metrics["calibration"]["data"]["digest"] = "of another site"
    (bundles / "tiny_fracture" / "metrics.json").write_text(json.dumps(metrics))
    assert "flatter" not in evaluate(bundles, site)


def test_a_part_of_a_bundles_pool_is_recognised_by_the_names(tmp_path: Path) -> None:
    bundles = build_tiny_bundles(tmp_path / "b")
    pool = write_pool(tmp_path / "pool", [*MIXED, Drawn(fractured=False, spot=0.5, at=(0, 52))])
    (bundles / "tiny_region" / "out_of_fold.csv").write_text("image\nIMG0000100.png\nIMG0001600.png\nIMG9.png\n")
    assert "tiny_region was trained on 2 of these 17 radiographs" in " ".join(evaluate(bundles, pool).split())


def test_a_pool_of_broken_images_is_refused(tmp_path: Path) -> None:
    pool = write_pool(tmp_path / "pool", MIXED[:3])
    for path in (pool / "images").iterdir():
        path.write_bytes(path.read_bytes()[:60])
    bundles = build_tiny_bundles(tmp_path / "bundles")
    words = ["evaluate", str(bundles), "--data", str(pool), "--out", str(tmp_path / "report")]
    result = runner.invoke(app, words)
    assert result.exit_code == 2, result.output
    assert "no radiograph of pool can be used: 3 are left out" in " ".join(result.output.split())
    assert not (tmp_path / "report").exists()
