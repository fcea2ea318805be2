"""Weights to start from: published ones, those of a model file, and files that hold none."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from drawn_networks import draw_weights, find_evidence, large, run_keras

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

SIZE = 64
NO_TORCH = "torch is not installed: files of it can be neither read nor written here"


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("densenet121", "densenet121"),
        ("efficientnet_b1", "efficientnet_b1"),
        ("vgg16", "vgg16"),
        pytest.param("resnet101_cbam", "resnet101", marks=large),
    ],
)
def test_a_published_backbone_file_answers_as_with_its_own_preprocessing(
    name: str, published: str, tmp_path: Any
) -> None:
    import keras

    from models.architectures.published import IMAGENET_MEAN, IMAGENET_VARIANCE, PUBLISHED, build_published
    from models.pretrained import load_weights

    source = PUBLISHED[published].application(include_top=False, weights=None)
    source.save(tmp_path / "backbone.h5")
    ours = build_published(SIZE, name=published)
    load_weights(ours, name, str(tmp_path / "backbone.h5"))
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 1)).astype(np.float32)
    colour = np.repeat(pixels, 3, axis=-1)
    modules = {"densenet121": "densenet", "vgg16": "vgg16", "resnet101": "resnet"}
    if published in modules:
        colour = getattr(keras.applications, modules[published]).preprocess_input(colour)
    else:
        # The file of ImageNet's weights carries what the network's own layer subtracts and divides by.
        layer = next(item for item in source.layers if isinstance(item, keras.layers.Normalization))
        layer.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_VARIANCE), np.array(0)])
        layer.finalize_state()
    expected = np.asarray(source(colour, training=False))
    answered = np.asarray(ours((pixels - 127) / 128, training=False))
    assert np.abs(answered - expected).max() < 1e-4 * np.abs(expected).max()
    assert expected.max() > 0


def test_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from models import pretrained

    def fail(**_: Any) -> None:
        raise Exception("URL fetch failure on https://example.invalid/vgg16.h5: None -- no network")  # noqa: TRY002 - as Keras raises it

    offline = dataclasses.replace(pretrained.PUBLISHED["vgg16"], application=fail)
    monkeypatch.setattr(pretrained, "PUBLISHED", {"vgg16": offline})
    with pytest.raises(pretrained.WeightsError, match=r"example\.invalid/vgg16\.h5[\s\S]*--weights FILE"):
        pretrained.load_weights(None, "vgg16", "imagenet")


def test_a_network_without_published_weights_says_so() -> None:
    from models.pretrained import WeightsError, load_weights

    with pytest.raises(WeightsError, match="no ImageNet weights of custom_cnn"):
        load_weights(None, "custom_cnn", "imagenet")


def test_a_model_file_gives_its_backbone_to_a_model_with_other_outputs(tmp_path: Any) -> None:
    from models.architectures import build
    from models.pretrained import WeightsError, load_weights

    given, taken = (build("custom_cnn", image_size=size, outputs=count) for size, count in ((64, 3), (96, 2)))
    draw_weights(given)
    given.save(tmp_path / "given.keras")
    load_weights(taken, "custom_cnn", str(tmp_path / "given.keras"))
    assert np.array_equal(*(model.get_layer("block4b_conv").get_weights()[0] for model in (given, taken)))
    assert np.array_equal(*(model.get_layer("block4b_bn").get_weights()[3] for model in (given, taken)))
    assert not find_evidence(taken).get_weights()[0].any()
    other = build("vgg16", image_size=64, outputs=1)
    with pytest.raises(WeightsError, match="does not hold weights of vgg16"):
        load_weights(other, "vgg16", str(tmp_path / "given.keras"))


def test_a_weights_file_gives_back_the_very_same_model(tmp_path: Any) -> None:
    from models.architectures import build
    from models.pretrained import WeightsError, load_weights

    given, taken = (build("custom_cnn", image_size=64, outputs=3) for _ in range(2))
    draw_weights(given)
    given.save_weights(tmp_path / "given.weights.h5")
    load_weights(taken, "custom_cnn", str(tmp_path / "given.weights.h5"))
    images = np.random.default_rng(1).normal(-0.8, 0.1, (1, SIZE, SIZE, 1)).astype(np.float32)
    assert np.array_equal(run_keras(given, images)["logits"], run_keras(taken, images)["logits"])
    smaller = build("custom_cnn", image_size=64, outputs=2)
    with pytest.raises(WeightsError, match="does not hold weights of custom_cnn"):
        load_weights(smaller, "custom_cnn", str(tmp_path / "given.weights.h5"))


def test_a_file_that_is_not_there_is_refused() -> None:
    from models.pretrained import WeightsError, load_weights

    with pytest.raises(WeightsError, match="neither random, imagenet, nor a file"):
        load_weights(None, "vgg16", "nowhere.keras")


@pytest.mark.parametrize(
    ("name", "file"),
    [("efficientnet_lite0", "w.pth"), ("custom_cnn", "w.keras"), ("custom_cnn", "w.weights.h5"), ("vgg16", "w.h5")],
)
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 a damaged archive"])
def test_a_damaged_file_is_refused(name: str, file: str, content: bytes, tmp_path: Any) -> None:
    from models.architectures import build
    from models.pretrained import WeightsError, load_weights

    if file.endswith(".pth"):
        pytest.importorskip("torch", reason=NO_TORCH)
    (tmp_path / file).write_bytes(content)
    model = build("custom_cnn", image_size=64, outputs=1)
    with pytest.raises(WeightsError, match=f"{file} does not hold weights of {name}"):
        load_weights(model, name, str(tmp_path / file))


@pytest.mark.parametrize("what", ["a list", "numbers"])
def test_a_file_of_pytorch_with_something_else_is_refused(what: str, tmp_path: Any) -> None:
    torch = pytest.importorskip("torch", reason=NO_TORCH)
    from models.pretrained import WeightsError, load_weights

    torch.save([torch.zeros(2)] if what == "a list" else {"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="no state dictionary"):
        load_weights(None, "efficientnet_lite0", str(tmp_path / "w.pth"))
