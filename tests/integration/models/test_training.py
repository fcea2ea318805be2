"""Training from a folder of drawn radiographs to bundles that the pipeline serves."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from inference.bundle import ONNX, QualityLimits, load_bundle, write_manifest
from inference.limb import find_limb
from inference.model import Model
from inference.pipeline import Pipeline
from inference.quality import object_to
from inference.types import Radiograph, Task
from models.cli import app
from models.datasets import assign_folds, load_fracatlas, read_unit_pixels
from models.recipe import Recipe
from models.variations import draw_shifted, list_places

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

from models.export import export_onnx  # noqa: E402 - needs TensorFlow
from models.fracture_checks import recall_sight  # noqa: E402 - as above
from models.inputs import name_inputs  # noqa: E402 - as above
from models.lessons import name_outputs, teach  # noqa: E402 - as above
from models.protocol import (  # noqa: E402 - as above
    IMAGENET_OFFSET,
    IMAGENET_SCALE,
    MIRRORED,
    PLAIN,
    SHIFTED,
    Experiment,
    Fold,
)

SIDE = 96
COUNT = 96
FRACTURE = 20


def draw(number: int) -> tuple[np.ndarray, str, bool, list[int]]:
    """Draw one bone (KNEE) or five (HAND), and in every third of them a chequered square: the fracture."""
    rng = np.random.default_rng(number)
    region, fractured = ("HAND" if number % 2 else "KNEE"), number % 3 == 0
    # Clouds of its own on every plate: without them the plates would count as copies of one radiograph.
    plate = cv2.resize(rng.integers(0, 90, (7, 7), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    for x in (16, 32, 48, 64, 80) if region == "HAND" else (48,):
        ends = [(x + int(rng.integers(-6, 7)), y) for y in (10, 86)]
        cv2.line(plate, *ends, 150, 6 if region == "HAND" else 26)
    left, top = (int(value) for value in rng.integers(20, 60, 2))
    if fractured:
        plate[top : top + FRACTURE, left : left + FRACTURE] = 255 * (
            np.indices((FRACTURE, FRACTURE)).sum(axis=0) // 4 % 2
        )
    noisy = np.clip(plate + rng.normal(0, 4, plate.shape), 0, 255).astype(np.uint8)
    return noisy, region, fractured, [left, top, FRACTURE, FRACTURE]


def draw_pool(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    outlines = {}
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "fractured", "region", "duplicate_group", "truncated"])
        for index in range(COUNT):
            # Numbers far apart: each radiograph is a patient of its own.
            name = f"IMG{index * 40:07}.png"
            pixels, region, fractured, (x, y, width, height) = draw(index)
            Image.fromarray(pixels).save(folder / "images" / name)
            table.writerow([name, int(fractured), region, "", 0])
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            if fractured:
                outlines[name] = [{"box": [x, y, width, height], "polygons": [corners]}]
    (folder / "fractures.json").write_text(json.dumps(outlines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train both tasks on one small backbone from random weights."""
    root = tmp_path_factory.mktemp("training")
    data = draw_pool(root / "fracatlas")
    options = {
        "data": data,
        "model": "custom_cnn",
        "weights": "random",
        "image-size": 64,
        "epochs": 20,
        "batch-size": 16,
        "learning-rate": 1e-3,
        "folds": 2,
        "localisation": 5,
        "second-look": 0.7,
        "out": root / "bundles",
        "store": root / "store",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    words = ["train", "--task", "region", "--task", "fracture", *words]
    (root / "words.json").write_text(json.dumps(words), encoding="utf-8")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    (root / "output.txt").write_text(result.output, encoding="utf-8")
    return root


def test_every_training_shows_its_images_a_second_and_the_time_left(trained: Path) -> None:
    output = " ".join((trained / "output.txt").read_text(encoding="utf-8").split())
    for name in ("fold0", "fold1", "final"):
        assert re.search(rf"{name}, 20 epochs \S+ (\d+)/\1 100% [\d.]+ images/s \d+:\d\d:\d\d", output), output


def test_one_training_gives_a_bundle_for_each_task_that_the_pipeline_serves(trained: Path) -> None:
    pipeline = Pipeline.load(trained / "bundles")
    assert pipeline.regions_served
    pixels, *_ = draw(3)
    analysis = pipeline.analyse(Radiograph(pixels=(pixels / 255).astype(np.float32)))
    assert analysis.models[0].name == "region"


def test_only_regions_that_were_shown_are_named(trained: Path) -> None:
    bundle = trained / "bundles" / "region"
    assert load_bundle(bundle).manifest.labels == ("HAND", "KNEE")
    absent = "ANKLE_FOOT, ELBOW, FEMUR, FOREARM, HIP, HUMERUS, LEG, SHOULDER"
    output = " ".join((trained / "output.txt").read_text(encoding="utf-8").split())
    assert f"no radiograph shows {absent}: the region bundle will name none of them" in output
    card = (bundle / "card.md").read_text(encoding="utf-8")
    assert "No radiograph showed FOREARM, ELBOW, HUMERUS," in card
    assert "Accuracy over 2 regions" in card
    assert "accuracy over 2 regions | ≥ 0.98" in card


def test_the_square_that_stands_for_a_fracture_is_learned_and_found(trained: Path) -> None:
    figures = json.loads((trained / "bundles" / "fracture" / "metrics.json").read_text())["figures"]
    assert figures["all"]["auc"]["value"] > 0.8
    assert figures["grad_cam_peak_in_box"]["all"]["value"] > 0.5


def test_the_table_holds_every_radiograph_once_answered_by_a_model_that_did_not_see_it(trained: Path) -> None:
    with (trained / "bundles" / "fracture" / "out_of_fold.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["image"] for row in rows}) == len(rows) == COUNT
    assert {row["fold"] for row in rows} == {"0", "1"}


@pytest.mark.parametrize(("task", "numbers"), [("region", 1), ("fracture", 17)])
def test_what_a_bundle_states_follows_from_what_it_carries(trained: Path, task: str, numbers: int) -> None:
    result = CliRunner().invoke(app, ["verify", str(trained / "bundles" / task)])
    output = " ".join(result.output.split())
    assert result.exit_code == 0, output
    assert f"{numbers} statements of manifest.toml computed again from out_of_fold.csv: all as stated" in output
    assert "card.md compared with what manifest.toml and metrics.json say: all as stated" in output


def test_what_is_finished_is_kept_for_a_run_that_is_interrupted(trained: Path) -> None:
    weights = sorted(path.name for path in (trained / "store").glob("inputs-*/training-*/*.weights.h5"))
    assert weights == ["final.weights.h5", "fold0.weights.h5", "fold1.weights.h5"]


def test_training_goes_on_from_the_epoch_that_was_finished_last(tmp_path: Path) -> None:
    import keras

    from inference.types import Task
    from models.features import Features
    from models.network import build_network
    from models.recipe import Recipe
    from models.training import Lesson, fit

    rng = np.random.default_rng(0)
    drawn = np.stack([rng.permutation(8) for _ in range(4)])
    features = Features(
        looks=rng.normal(size=(8, 3, 64, 64, 1)).astype(np.float16),
        drawn=drawn,
        maps=rng.normal(size=(32, 64, 64, 1)).astype(np.float16),
        cover=np.zeros((32, 4, 4), np.float16),
        shows=np.ones((32, 2), bool),
    )
    lessons = [Lesson(task=Task.TYPE, targets=np.eye(2, dtype=np.float32)[np.arange(8) % 2])]
    recipe = Recipe(architecture="custom_cnn", image_size=64, epochs=4, batch_size=4, learning_rate=1e-3)

    def run() -> tuple[keras.Model, list[dict[str, float]]]:
        top = build_network("custom_cnn", image_size=64, outputs={Task.TYPE: 2}).split("")[1]
        return top, fit(
            top, features, lessons, np.ones(8, bool), recipe, state=tmp_path, progress=lambda steps, _: iter(steps)
        )

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(keras.callbacks.CSVLogger, "on_epoch_begin", _fail_in_third_epoch, raising=False)
        with pytest.raises(KeyboardInterrupt):
            run()
    top, epochs = run()
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4]
    # Two steps in each of four epochs, none of them twice.
    assert int(top.optimizer.iterations.numpy()) == 8


def _fail_in_third_epoch(_: object, epoch: int, _logs: object = None) -> None:
    if epoch == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("fracture", {"history", "roc", "precision_recall", "reliability", "confusion"}),
        ("region", {"history", "reliability", "confusion"}),
    ],
)
def test_the_pictures_of_a_bundle_are_drawn_again_from_its_table(trained: Path, task: str, names: set[str]) -> None:
    folder = trained / "bundles" / task / "figures"
    drawn = {path.stem: path.read_bytes() for path in folder.iterdir()}
    assert set(drawn) == names
    (folder / "confusion.png").unlink()
    result = CliRunner().invoke(app, ["card", str(folder.parent), "--write"])
    assert result.exit_code == 0, result.output
    assert {path.stem: path.read_bytes() for path in folder.iterdir()} == drawn
    assert "## Targets" in (folder.parent / "card.md").read_text(encoding="utf-8")


def test_the_same_command_goes_on_where_it_was_interrupted_and_writes_over_nothing(trained: Path) -> None:
    words = json.loads((trained / "words.json").read_text(encoding="utf-8"))
    result = CliRunner().invoke(app, words)
    assert (result.exit_code, "holds a bundle already" in " ".join(result.output.split())) == (1, True)
    before = (trained / "bundles").rename(trained / "bundles_before")
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "epochs" not in result.output
    for task in ("region", "fracture"):
        tables = [(folder / task / "out_of_fold.csv").read_bytes() for folder in (before, trained / "bundles")]
        assert tables[0] == tables[1]


def test_the_fracture_bundle_looks_closer_as_it_was_calibrated_and_the_region_bundle_does_not(trained: Path) -> None:
    manifests = [load_bundle(trained / "bundles" / name).manifest for name in ("fracture", "region")]
    assert [manifest.second_look for manifest in manifests] == [0.7, None]


@pytest.fixture(scope="module")
def cross_validated(trained: Path) -> tuple[Experiment, list[Fold], tuple[str, ...]]:
    """Return what the folds of that training said; their weights are read from its store."""
    dataset = load_fracatlas(trained / "fracatlas")
    recipe = Recipe(
        architecture="custom_cnn",
        image_size=64,
        weights="random",
        epochs=20,
        batch_size=16,
        learning_rate=1e-3,
        localisation=5.0,
        region_weight=0.3,
        second_look=0.7,
    )
    folds = assign_folds(dataset.samples, folds=2, seed=recipe.seed)
    experiment = Experiment(
        dataset.samples,
        [teach(task, dataset) for task in (Task.REGION, Task.FRACTURE)],
        recipe,
        progress=lambda steps, _: iter(steps),
        store=trained / "store" / name_inputs(dataset.samples, recipe, folds),
    )
    assert experiment.read_history("fold0"), "it was trained so"
    return experiment, list(experiment.cross_validate(folds)), name_outputs(dataset)


def serve(folder: Path, experiment: Experiment, number: int, labels: tuple[str, ...], *, mirrored: bool) -> Model:
    """Write the network of a fold as a bundle, and load it as serving does."""
    folder.mkdir()
    fold = experiment.train(np.zeros(0, bool), name=f"fold{number}").models[Task.FRACTURE]
    (folder / ONNX).write_bytes(export_onnx(fold).SerializeToString())
    answer = {"output": labels[0], "regions": ["HAND"], "slope": 1, "intercept": 0, "sensitive": 0.1, "specific": 0.9}
    preprocessing = {"image_size": 64, "scale": IMAGENET_SCALE, "offset": IMAGENET_OFFSET}
    fields = {"name": "fold", "version": "0.0.1", "task": Task.FRACTURE, "architecture": "custom_cnn"}
    looks = {"mirrored": mirrored, "second_look": experiment.recipe.second_look}
    write_manifest(
        folder, {**fields, **looks, "labels": labels, "preprocessing": preprocessing, "answers": [answer]}, (ONNX,)
    )
    return Model.load(load_bundle(folder), runtime="onnx", threads=1)


def test_what_is_said_out_of_fold_is_what_serving_would_have_said_of_that_radiograph(
    cross_validated: tuple[Experiment, list[Fold], tuple[str, ...]], tmp_path: Path
) -> None:
    experiment, folds, labels = cross_validated
    places = list_places(experiment.samples)
    for fold in folds:
        both, once = (
            serve(tmp_path / f"{fold.number}-{mirrored}", experiment, fold.number, labels, mirrored=mirrored)
            for mirrored in (True, False)
        )
        answers = fold.answers[Task.FRACTURE]
        assert answers.both.std() > 0.1, "else any radiograph would do for another"
        closer = 0
        for place, row in enumerate(fold.held_out):
            sample = experiment.samples[row]
            radiograph = Radiograph(pixels=read_unit_pixels(sample.path))
            served, limb = both.look_for(labels[0], radiograph), find_limb(radiograph)
            recalled = recall_sight(answers, place, 0, radiograph, size=64)
            # Kept looks are rounded to half precision.
            assert answers.logits[place, [PLAIN, MIRRORED], 0] == pytest.approx(served.logits, abs=0.01)
            draw = np.random.default_rng((experiment.recipe.seed, 1, row))
            elsewhere = draw_shifted(sample, experiment.preprocessing, rng=draw, places=places)
            shifted = once.look_for(labels[0], Radiograph(pixels=elsewhere))
            assert answers.logits[place, SHIFTED, 0] == pytest.approx(shifted.logit, abs=0.01)
            assert (recalled.first is None) is (served.first is None)
            assert np.abs(np.subtract(recalled.box.exposed, served.box.exposed)).max() <= 1
            assert object_to(recalled, limb, QualityLimits()) == object_to(served, limb, QualityLimits())
            if served.first is None:
                continue
            closer += 1
            maps = (one.spread(rows=SIDE, columns=SIDE).map for one in (recalled, served))
            assert np.abs(np.subtract(*maps)).mean() < 0.01
            for ours, theirs in ((recalled.first, served.first), (recalled, served)):
                assert ours is not None
                assert np.abs(ours.cams - theirs.cams).max() < 0.05 * theirs.cams.max()
        assert closer >= len(fold.held_out) // 5, "most have no fracture, and their maps no heat"
