"""Every architecture by name: it trains, its map is Grad-CAM, and its export answers as Keras does."""

import math
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from drawn_networks import draw_weights, find_evidence, large, run_keras
from grad_cam_by_tape import measure_difference

from inference.bundle import KERAS, ONNX, SCOPE, load_bundle, write_manifest
from inference.model import Model
from inference.pipeline import Pipeline
from inference.preprocessing import Preprocessing, prepare
from inference.scope import Scope
from inference.testing import build_tiny_bundles
from inference.types import Decision, Radiograph, Task

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

SIZE = 64
OUTPUTS = 3
NAMES = [
    "custom_cnn",
    "densenet121",
    "efficientnet_b1",
    pytest.param("efficientnet_b3_attention", marks=large),
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    pytest.param("resnet101_cbam", marks=large),
    "resnet50",
    "vgg16",
]


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest) -> Any:
    """Build a network, let it learn for two steps, and keep what it was before."""
    import keras

    from models.architectures import build

    keras.utils.set_random_seed(0)
    model = build(request.param, image_size=SIZE, outputs=OUTPUTS)
    before = {layer.name: layer.get_weights() for layer in (find_stem(model), find_evidence(model))}
    learner = keras.Model(model.input, model.output["logits"])
    # Eager: two steps are done before a graph of hundreds of layers is traced.
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    learner.compile(optimizer=keras.optimizers.Adam(3e-6), loss=loss, run_eagerly=True)
    images, targets = draw_squares(4)
    losses = [float(learner.train_on_batch(images, targets)) for _ in range(2)]
    yield model, before, losses
    keras.utils.clear_session()


@pytest.fixture(scope="module")
def drawn(trained: Any) -> Any:
    """The same network with weights of which every one matters."""
    from models.export import round_kernels

    model, _, _ = trained
    draw_weights(model)
    round_kernels(model)
    return model


def draw_squares(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a bright square at the left, in the middle, or at the right of noise."""
    rng = np.random.default_rng(0)
    images = rng.normal(-0.8, 0.1, (count, SIZE, SIZE, 1)).astype(np.float32)
    kinds = np.arange(count) % OUTPUTS
    for image, kind in zip(images, kinds, strict=True):
        image[20:36, 16 * kind + 4 : 16 * kind + 20] = 0.9
    return images, np.eye(OUTPUTS, dtype=np.float32)[kinds]


def find_stem(model: Any) -> Any:
    return next(layer for layer in model.layers if "conv" in layer.name and layer.weights)


def run_onnx(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": images}), strict=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_every_architecture_is_there_by_name() -> None:
    from models.architectures import BACKBONES
    from models.recipe import ARCHITECTURES

    # Named there too, so that the command line can list them without Keras.
    assert tuple(BACKBONES) == ARCHITECTURES
    assert sorted(BACKBONES) == [name if isinstance(name, str) else name.values[0] for name in NAMES]


def test_two_steps_teach_head_and_stem(trained: Any) -> None:
    model, before, losses = trained
    assert losses[0] == pytest.approx(math.log(OUTPUTS), abs=1e-4)  # cells begin at zero: no output is preferred
    assert losses[1] < losses[0]
    assert len(before) == 2
    for name, weights in before.items():
        assert not np.array_equal(model.get_layer(name).get_weights()[0], weights[0])


def test_the_exported_map_is_grad_cam_by_gradient_tape(drawn: Any) -> None:
    difference, highest = measure_difference(drawn, draw_squares(1)[0])
    assert highest > 0.01
    assert difference <= 1e-5 * highest


def test_both_runtimes_serve_it_in_the_pipeline_as_it_was_saved(drawn: Any, tmp_path: Any) -> None:
    folder = write_bundle(drawn, tmp_path)
    tiny = build_tiny_bundles(tmp_path / "tiny") / "tiny_region"
    stage1 = Model.load(load_bundle(tiny), runtime="onnx", threads=1)
    radiograph = Radiograph(pixels=(draw_squares(2)[0][1, ..., 0] + 1.2) / 2.2)
    answers = []
    for runtime in ("onnx", "tensorflow"):
        stage2 = Model.load(load_bundle(folder), runtime=runtime, threads=1)
        answers.append(Pipeline(stage1, (stage2,), Scope.load(tiny / SCOPE)).analyse(radiograph))
    exported, saved = answers
    assert exported.fracture is not None
    assert saved.fracture is not None
    assert exported.decision is saved.decision is Decision.FRACTURE
    assert exported.fracture.probability == pytest.approx(saved.fracture.probability, abs=1e-4)
    assert exported.heatmap is not None
    assert saved.heatmap is not None
    assert exported.heatmap.max() == saved.heatmap.max() == 255
    assert np.abs(exported.heatmap.astype(int) - saved.heatmap.astype(int)).max() <= 1
    assert exported.heatmap_peak is not None


def write_bundle(model: Any, folder: Any) -> Any:
    """Write the network as a fracture bundle that shows whatever map it has."""
    from models.export import export_onnx

    place = folder / "drawn"
    place.mkdir()
    model.save(place / KERAS)
    (place / ONNX).write_bytes(export_onnx(model).SerializeToString(deterministic=True))
    # The output whose map is hottest; of random weights others may have none.
    cam = run_keras(model, draw_squares(2)[0])["cam"][1]
    labels = ("A", "B", "C")
    answer = {
        "output": labels[int(cam.max(axis=(0, 1)).argmax())],
        "regions": ["HAND"],
        "slope": 1e-3,
        "intercept": 1.0,
        "sensitive": 0.01,
        "specific": 0.02,
    }
    fields = {
        "name": "drawn",
        "version": "0.0.1",
        "task": Task.FRACTURE,
        "architecture": model.name,
        "labels": labels,
        "preprocessing": {"image_size": SIZE, "scale": 2.2, "offset": -1.2},
        "answers": [answer],
        "quality": {"flatness": 1.0, "inside": 0.0, "agreement": -1.0},
    }
    write_manifest(place, fields, (ONNX, KERAS))
    return place


def test_the_export_answers_as_keras(drawn: Any) -> None:
    from models.export import export_onnx

    images, _ = draw_squares(2)
    expected, exported = run_keras(drawn, images), run_onnx(export_onnx(drawn), images)
    assert set(exported) == {"logits", "cam", "embedding"}
    scale = max(1.0, np.abs(expected["logits"]).max())
    assert np.abs(exported["logits"] - expected["logits"]).max() < 1e-4 * scale
    assert np.abs(softmax(exported["logits"]) - softmax(expected["logits"])).max() < 1e-4
    for name in ("cam", "embedding"):
        assert exported[name].shape == expected[name].shape
        assert np.abs(exported[name] - expected[name]).max() < 1e-4 * np.abs(expected[name]).max()
    assert expected["cam"].min() >= 0.0
    assert np.ptp(expected["logits"]) > 1e-3


def test_the_export_of_the_same_model_is_the_same_bytes(drawn: Any) -> None:
    from models.export import export_onnx

    assert export_onnx(drawn).SerializeToString(deterministic=True) == export_onnx(drawn).SerializeToString(
        deterministic=True
    )


def test_names_do_not_depend_on_what_was_built_before() -> None:
    from models.architectures import BACKBONES

    first, second = (BACKBONES["efficientnet_b1"](SIZE) for _ in range(2))
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


def test_the_hidden_head_is_a_dense_layer_after_pooling() -> None:
    import keras

    from models.architectures.dense_head import attach_dense_head

    image = keras.Input((5, 7, 6), name="image")
    features = keras.layers.ReLU()(keras.layers.Conv2D(24, 1)(image))
    model = attach_dense_head(keras.Model(image, features), outputs=OUTPUTS, name="head")
    draw_weights(model)
    answers = run_keras(model, np.random.default_rng(1).normal(size=(4, 5, 7, 6)).astype(np.float32))
    layers = (model.get_layer("hidden_cells"), find_evidence(model))
    hidden, output = (layer.get_weights()[0][0, 0] for layer in layers)
    expected = np.maximum(answers["embedding"] @ hidden, 0) @ output
    assert np.abs(answers["logits"] - expected).max() < 1e-5
    assert np.abs(expected).max() > 0.1


def build_layer_cases() -> list[Any]:
    import keras

    from models.architectures.head import LogSumExpPooling, PooledCam

    layers = keras.layers
    return [
        layers.UpSampling2D((2, 3), interpolation="nearest"),
        layers.UpSampling2D(2, interpolation="bilinear"),
        layers.AveragePooling2D(3, strides=2, padding="same"),
        layers.MaxPooling2D(3, strides=2, padding="same"),
        layers.ZeroPadding2D(((0, 1), (2, 3))),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="silu"),
        layers.Conv2D(4, 3, dilation_rate=2, activation="sigmoid"),
        layers.Conv2D(4, 3, groups=2),
        layers.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"),
        layers.BatchNormalization(scale=False),
        layers.Normalization(mean=[1.0, 2.0, 3.0, 4.0], variance=[4.0, 3.0, 2.0, 1.0]),
        layers.Rescaling([1.0, 2.0, 3.0, 4.0], 0.5),
        layers.Reshape((1, 1, 5 * 6 * 4)),
        layers.Reshape((3, 10, 4)),
        LogSumExpPooling(),
        PooledCam(),
    ]


@pytest.mark.parametrize("number", range(16))
def test_a_layer_answers_in_the_export_as_in_keras(number: int) -> None:
    import keras

    from models.export import export_onnx, round_kernels

    image = keras.Input((5, 6, 4), name="image")
    cases = build_layer_cases()
    assert len(cases) == 16
    model = keras.Model(image, {"answer": cases[number](image)})
    draw_weights(model)
    round_kernels(model)
    images = np.random.default_rng(number).normal(size=(2, 5, 6, 4)).astype(np.float32)
    expected, exported = run_keras(model, images)["answer"], run_onnx(export_onnx(model), images)["answer"]
    assert exported.shape == expected.shape
    assert np.abs(exported - expected).max() < 1e-5
    assert np.ptp(expected) > 0.01


def test_attention_answers_in_the_export_as_in_keras() -> None:
    import keras

    from models.architectures.attention import attend
    from models.export import export_onnx, round_kernels

    image = keras.Input((3, 5, 8), name="image")
    model = keras.Model(image, {"answer": attend(image)})
    draw_weights(model)
    round_kernels(model)
    images = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype(np.float32)
    expected, exported = run_keras(model, images)["answer"], run_onnx(export_onnx(model), images)["answer"]
    assert np.abs(exported - expected).max() < 1e-4
    assert expected.std() > 0.1


def test_attention_tells_equal_cells_apart_by_their_place() -> None:
    import keras

    from models.architectures.attention import attend

    image = keras.Input((4, 4, 8), name="image")
    model = keras.Model(image, attend(image))
    draw_weights(model)
    cells = np.asarray(model(np.ones((1, 4, 4, 8), np.float32), training=False))[0]
    assert np.ptp(cells, axis=(0, 1)).max() > 0.1


def test_shared_attention_layers_and_open_gates_leave_a_map_almost_as_it_was() -> None:
    import keras

    from models.architectures.cbam import attend
    from models.export import export_onnx, round_kernels

    image = keras.Input((6, 7, 32), name="image")
    model = keras.Model(image, {"answer": attend(image, name="cbam")})
    images = np.random.default_rng(0).normal(size=(2, 6, 7, 32)).astype(np.float32)
    assert np.abs(run_keras(model, images)["answer"] / images - 0.907).max() < 0.001
    draw_weights(model)
    round_kernels(model)
    expected, exported = run_keras(model, images)["answer"], run_onnx(export_onnx(model), images)["answer"]
    assert np.abs(exported - expected).max() < 1e-5
    assert np.abs(expected / images - 0.907).max() > 0.1


def test_onnx_runtime_folds_batch_normalisation_into_the_convolutions(tmp_path: Any) -> None:
    from models.architectures import build
    from models.export import export_onnx

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    exported = export_onnx(build("custom_cnn", image_size=SIZE, outputs=1))
    onnxruntime.InferenceSession(exported.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    assert "BatchNormalization" in {node.op_type for node in exported.graph.node}
    assert "BatchNormalization" not in kinds
    assert "Cast" not in kinds


def see_brightness(model: Any) -> None:
    """Let the first channel carry the brightness through every block, and the first output read it."""
    for layer in model.layers:
        if layer.name.endswith("conv") or layer is find_evidence(model):
            (kernel,) = layer.get_weights()
            kernel[...] = 0
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2, 0, 0] = 1
            layer.set_weights([kernel])


@pytest.fixture(scope="module")
def bright() -> onnx.ModelProto:
    from models.architectures import build
    from models.export import export_onnx

    model = build("custom_cnn", image_size=128, outputs=1)
    see_brightness(model)
    return export_onnx(model)


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("pixel_aspect", [1.0, 1.7])
def test_a_planted_square_is_found_where_it_lies(
    bright: onnx.ModelProto, turn: int, mirrored: bool, pixel_aspect: float
) -> None:
    planted = np.full((90, 200), 0.2, np.float32)
    planted[56:80, 24:48] = 1.0
    pixels = np.rot90(planted[:, ::-1] if mirrored else planted, turn).copy()
    radiograph = Radiograph(pixels=pixels, pixel_aspect=pixel_aspect)
    tensor, box = prepare(radiograph, Preprocessing(image_size=128, scale=255 / 128, offset=-127 / 128))
    cam = run_onnx(bright, tensor)["cam"][0, ..., 0]
    row, column = np.unravel_index(cam.argmax(), cam.shape)
    stride = 128 / cam.shape[0]
    y = ((row + 0.5) * stride - box.top) / box.scale_y
    x = ((column + 0.5) * stride - box.left) / box.scale_x
    # The centre of the strongest cell, at most half a cell outside the square.
    ys, xs = np.nonzero(pixels > 0.9)
    assert ys.min() - stride / 2 / box.scale_y <= y <= ys.max() + 1 + stride / 2 / box.scale_y
    assert xs.min() - stride / 2 / box.scale_x <= x <= xs.max() + 1 + stride / 2 / box.scale_x
    assert cam.max() > 2 * np.median(cam)
