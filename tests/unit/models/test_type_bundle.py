"""A type bundle from a folder for each type to the bars of a report."""

import json
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from builders import build_dx
from drawn_fractures import TYPES, draw_fracture, write_drawn_fractures
from pydicom import dcmread
from report_pages import measure_bar, open_pages, read_page

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

EACH = 8


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a type bundle on drawn fractures by the command, beside tiny bundles of the other two stages."""
    from typer.testing import CliRunner

    from inference.testing import build_tiny_bundles
    from models.cli import app

    place = tmp_path_factory.mktemp("types")
    options = {
        "layout": "folders",
        "task": "type",
        "data": write_drawn_fractures(place / "drawn", each=EACH),
        "model": "custom_cnn",
        "weights": "random",
        "image-size": 64,
        "epochs": 2,
        "bundle-version": "0.1.0",
        "folds": 2,
        "out": build_tiny_bundles(place / "bundles", region="LEG") / "drawn_type",
        "store": place / "store",
    }
    result = CliRunner().invoke(app, ["train", *(word for k, v in options.items() for word in (f"--{k}", str(v)))])
    assert result.exit_code == 0, result.output
    return place / "bundles"


def build_radiograph(kind: str, seed: int = 7) -> np.ndarray:
    """Draw a fracture with a metal marker, which the tiny fracture model takes for one: 12 bits."""
    drawn = draw_fracture(kind, np.random.default_rng(seed)).astype(np.uint16) * 16
    drawn[4:20, 4:20] = 4095
    return drawn


def test_the_bundle_says_what_it_can_tell_apart_and_how_well(bundles: Path) -> None:
    from inference.bundle import load_bundle
    from inference.types import Task
    from models.label_figures import type_figures
    from models.predictions import TABLE, TypePredictions, read_predictions

    folder = bundles / "drawn_type"
    manifest = load_bundle(folder).manifest
    assert (manifest.task, manifest.labels, manifest.architecture) == (Task.TYPE, TYPES, "custom_cnn")
    assert manifest.type is not None
    assert manifest.type.temperature > 0
    predictions = read_predictions(folder / TABLE, TypePredictions)
    figures = json.loads((folder / "metrics.json").read_text())["figures"]
    assert figures == json.loads(json.dumps(type_figures(predictions, TYPES)))
    assert [figures["types"][kind]["radiographs"] for kind in TYPES] == [EACH] * len(TYPES)
    assert sorted(predictions.image) == sorted(f"{kind}{number:03}.png" for kind in TYPES for number in range(EACH))
    assert set(predictions.fold) == {0, 1}
    assert (predictions.rank[predictions.type == predictions.predicted] == 1).all()
    card = (folder / "card.md").read_text()
    for said in (*TYPES, "three most probable", "Task: type", "--task type"):
        assert said in card
    assert (folder / "figures" / "confusion.png").stat().st_size > 1000


def test_the_pipeline_runs_it_once_a_fracture_is_found(bundles: Path) -> None:
    from scipy.special import softmax

    from inference.pipeline import Pipeline
    from inference.types import Decision, Radiograph, Task

    pipeline = Pipeline.load(bundles, threads=1)
    radiograph = Radiograph(pixels=(build_radiograph("spiral") / 4095).astype(np.float32))
    analysis = pipeline.analyse(radiograph)
    (model,) = pipeline.type_models
    manifest = model.bundle.manifest
    assert manifest.type is not None
    expected = softmax(model.run(radiograph)[0].logits.astype(float) / manifest.type.temperature)
    assert analysis.decision is Decision.FRACTURE
    assert analysis.fracture_type is not None
    assert tuple(analysis.fracture_type.probabilities) == TYPES
    assert list(analysis.fracture_type.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-6)
    assert analysis.fracture_type.confidence == max(analysis.fracture_type.probabilities.values())
    assert [one.task for one in analysis.models] == [Task.REGION, Task.FRACTURE, Task.TYPE]
    without = pipeline.analyse(Radiograph(pixels=radiograph.pixels * np.float32(0.5)))
    assert (without.decision, without.fracture_type) == (Decision.NO_FRACTURE, None)


def test_a_study_comes_back_with_the_probability_of_every_type(bundles: Path, tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from dicom_node.analyse.analysis import analyse_study
    from dicom_node.assemble.selection import select_radiographs
    from dicom_node.assemble.study import read_instance
    from dicom_node.encode.results import encode_study
    from dicom_node.values import Study
    from inference.phrases import format_label
    from inference.pipeline import Pipeline
    from inference.probabilities import format_probability

    source = build_dx(build_radiograph("oblique"))
    source.save_as(tmp_path / "oblique.dcm", enforce_file_format=True)
    study = Study(
        study_instance_uid=source.StudyInstanceUID,
        revision="1" * 64,
        version=1,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        instances=(read_instance(tmp_path / "oblique.dcm"),),
    )
    analysis = analyse_study(study, select_radiographs(study), Pipeline.load(bundles, threads=1))
    _, capture, report = (result.ds for result in encode_study(analysis, ae_title="FRACTUREAI"))
    with BytesIO() as file:
        report.save_as(file, enforce_file_format=True)
        (page,) = open_pages(dcmread(BytesIO(file.getvalue())))
    named = analysis.images[0].analysis.fracture_type
    assert named is not None
    texts, boxes = read_page(page)
    for kind, probability in named.probabilities.items():
        assert measure_bar(format_label(kind), texts, boxes) == pytest.approx(probability, abs=1e-3)
    most_probable = f"most probable type {format_label(named.label)} {format_probability(named.confidence)}"
    assert most_probable in capture.ImageComments
    assert "type model" in report.ContributingEquipmentSequence[-1].ContributionDescription


def test_both_runtimes_give_the_same_answer(bundles: Path) -> None:
    from inference.bundle import load_bundle
    from inference.pipeline import Model
    from inference.types import Radiograph

    bundle = load_bundle(bundles / "drawn_type")
    radiograph = Radiograph(pixels=(build_radiograph("transverse") / 4095).astype(np.float32))
    answers = [Model.load(bundle, runtime=name, threads=1).run(radiograph)[0] for name in ("onnx", "tensorflow")]
    assert np.abs(answers[0].logits - answers[1].logits).max() < 1e-4
    assert np.abs(answers[0].views.cam - answers[1].views.cam).max() < 1e-4


def build_answers(logits: list[list[float]], folds: list[int]) -> Any:
    """Build what a training hands over, where the final model says the opposite of the folds' models."""
    unseen = np.array(logits, np.float32)[:, np.newaxis]
    return SimpleNamespace(
        fold=np.array(folds),
        cluster=np.arange(len(folds)),
        unseen=lambda _: SimpleNamespace(logits=unseen),
        seen={"type": SimpleNamespace(logits=-unseen)},
    )


def build_dataset(tmp_path: Path, labels: str, contradicted: str) -> Any:
    from models.datasets import Dataset, Sample

    samples = tuple(
        Sample(
            path=tmp_path / f"{number}.png",
            number=number,
            region="",
            fractured=None,
            group=str(number),
            label=label,
            contradicted=flag == "x",
        )
        for number, (label, flag) in enumerate(zip(labels, contradicted, strict=True))
    )
    return Dataset(samples=samples, left_out={})


def test_the_table_holds_what_the_other_folds_models_said(tmp_path: Path) -> None:
    from models.type_bundle import tabulate

    logits = [[3.0, 1.0, 0.0], [0.0, 1.0, 3.0], [2.0, 3.0, 0.0], [3.0, 2.0, 0.0], [0.0, 0.0, 3.0], [5.0, 0.0, 0.0]]
    answers = build_answers(logits, [0, 0, 0, 1, 1, 1])
    table = tabulate(build_dataset(tmp_path, "aaabcc", "-----x"), answers, temperature=1.0)
    assert table.type.tolist() == ["a", "a", "a", "b", "c", ""]
    assert table.predicted.tolist() == ["a", "c", "b", "a", "c", "a"]
    assert table.rank.tolist() == [1, 3, 2, 2, 1, 0]
    assert table.final_type.tolist() == ["c", "a", "c", "c", "a", "b"]


def test_a_radiograph_under_two_types_teaches_neither(tmp_path: Path) -> None:
    from models.lessons import name_types, teach_type
    from models.training import UNKNOWN

    dataset = build_dataset(tmp_path, "bab", "--x")
    assert name_types(dataset) == ("a", "b")
    assert teach_type(dataset).targets.tolist() == [[0, 1], [1, 0], [UNKNOWN, UNKNOWN]]


def test_a_type_whose_every_radiograph_is_also_under_another_is_not_named(tmp_path: Path) -> None:
    from models.lessons import name_types, teach_type

    dataset = build_dataset(tmp_path, "babc", "---x")
    assert name_types(dataset) == ("a", "b")
    assert teach_type(dataset).targets.shape == (4, 2)


def test_a_radiograph_under_two_types_counts_for_neither_in_an_evaluation(tmp_path: Path) -> None:
    from inference.types import Decision, RadiographAnalysis, TypePrediction
    from models.held_out import Answers, tabulate_types

    said = TypePrediction(label="a", confidence=0.6, probabilities={"a": 0.6, "b": 0.4})
    analysis = RadiographAnalysis(decision=Decision.FRACTURE, fracture_type=said)
    samples = build_dataset(tmp_path, "abb", "-x-").samples
    answers = Answers(samples=samples, names=("0", "1", "2"), clusters=np.arange(3), analyses=(analysis,) * 3)
    table = tabulate_types(answers, ("a", "b"))
    assert (table.type.tolist(), table.rank.tolist()) == (["a", "", "b"], [1, 0, 2])
