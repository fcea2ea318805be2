"""`fracture-models export` and `card`."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import CliRunner

from inference.testing import build_tiny_bundles
from models.cli import app

runner = CliRunner()
on_tensorflow = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def run(*words: object) -> tuple[int, str]:
    result = runner.invoke(app, [str(word) for word in words])
    return result.exit_code, " ".join(result.output.split())


def test_a_bundle_without_its_keras_model_cannot_be_exported_again(tmp_path: Path) -> None:
    code, output = run("export", build_tiny_bundles(tmp_path) / "tiny_fracture", "--out", tmp_path / "out")
    assert code == 1
    assert "carries no model.keras" in output


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.keras").write_bytes(b"no model")
    code, output = run("export", tmp_path / "model.keras", "--out", tmp_path / "out")
    assert code == 1
    assert "model.keras is not a usable Keras model" in output


@pytest.mark.tensorflow
@on_tensorflow
def test_a_model_of_ones_own_is_exported_and_compared(tmp_path: Path) -> None:
    import keras

    from models.architectures import build
    from models.export import round_kernels

    keras.utils.set_random_seed(0)
    model = build("custom_cnn", image_size=32, outputs=2)
    model.save(tmp_path / "model.keras")
    code, output = run("export", tmp_path / "model.keras", "--out", tmp_path / "single", "--samples", 2)
    assert code == 0, output
    assert "kernels in single precision" in output
    round_kernels(model)
    model.save(tmp_path / "rounded.keras")
    code, output = run("export", tmp_path / "rounded.keras", "--out", tmp_path / "half", "--samples", 2)
    assert code == 0, output
    assert "kernels in half precision" in output
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("single", "half")]
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.tensorflow
@on_tensorflow
def test_an_export_that_answers_otherwise_is_noticed(tmp_path: Path) -> None:
    import keras

    from models import parity
    from models.architectures import build

    keras.utils.set_random_seed(0)
    model = build("custom_cnn", image_size=32, outputs=1)
    parity.export(model, tmp_path)
    assert all(one.is_rounding for one in parity.compare(model, tmp_path, None, samples=2))
    exported = onnx.load(tmp_path / "model.onnx")
    beta = next(one for one in exported.graph.initializer if one.name.endswith("beta"))
    beta.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(beta) + np.float32(0.5), beta.name))
    onnx.save(exported, tmp_path / "model.onnx")
    assert not all(one.is_rounding for one in parity.compare(model, tmp_path, None, samples=2))


@pytest.mark.tensorflow
@on_tensorflow
def test_a_model_with_other_outputs_is_refused(tmp_path: Path) -> None:
    import keras

    image = keras.Input((16, 16, 1))
    keras.Model(image, {"logits": keras.layers.Flatten()(image)}).save(tmp_path / "model.keras")
    code, output = run("export", tmp_path / "model.keras", "--out", tmp_path / "out")
    assert code == 1
    assert "no output named cam, embedding" in output


@pytest.mark.tensorflow
@on_tensorflow
def test_a_layer_used_in_a_way_without_translation_is_named(tmp_path: Path) -> None:
    import keras

    image = keras.Input((16, 16, 1))
    flat = keras.layers.Flatten()(keras.layers.Dense(1, name="on_a_map")(image))
    keras.Model(image, dict.fromkeys(("logits", "cam", "embedding"), flat)).save(tmp_path / "model.keras")
    code, output = run("export", tmp_path / "model.keras", "--out", tmp_path / "out")
    assert (code, "on_a_map: a dense layer on a map" in output) == (1, True), output


def test_a_card_is_shown(tmp_path: Path) -> None:
    bundle = build_tiny_bundles(tmp_path) / "tiny_fracture"
    (bundle / "card.md").write_text("# tiny 0.0.1\n\n| figure | value |\n|---|---|\n| AUC | 0.5 |\n")
    code, output = run("card", bundle)
    assert code == 0
    assert "tiny 0.0.1" in output
    # A table of the terminal, not Markdown's.
    assert "|---|" not in output
    assert "AUC" in output


def test_a_card_is_not_written_from_metrics_that_do_not_suffice(tmp_path: Path) -> None:
    bundle = build_tiny_bundles(tmp_path) / "tiny_fracture"
    (bundle / "card.md").write_text("kept")
    (bundle / "metrics.json").write_text(json.dumps({"data": {}}))
    code, output = run("card", bundle, "--write")
    assert code == 1
    assert "says nothing of" in output
    assert (bundle / "card.md").read_text() == "kept"


def test_a_bundle_without_a_card_says_so(tmp_path: Path) -> None:
    code, output = run("card", build_tiny_bundles(tmp_path) / "tiny_fracture")
    assert code == 1
    assert "tiny_fracture/card.md cannot be read" in output
