"""Backbones as Keras publishes them, behind the grey input that every architecture here reads.

The input is (pixel - 127) / 128 of 8-bit pixels. Published weights want three channels, normalised in the way of the
network they were trained with: both happen inside the graph, so one preprocessing feeds every architecture.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import keras

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_VARIANCE = (0.229**2, 0.224**2, 0.225**2)
"""Of red, green and blue, pixels in [0, 1]."""

_AUTOMATIC = re.compile(r"(normalization|rescaling|zero_padding2d)(_\d+)?")


@dataclass(frozen=True, kw_only=True)
class Published:
    """A network of `keras.applications` and the normalisation its ImageNet weights expect."""

    application: Callable[..., keras.Model]
    mean: tuple[float, float, float] | None = None
    """Of 8-bit pixels, channels in the network's order; None: the network normalises by itself."""
    variance: tuple[float, float, float] = (1.0, 1.0, 1.0)


# keras.applications: "caffe" is blue, green, red, only centred; "torch" is red, green, blue, scaled too.
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_TORCH_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
_TORCH_VARIANCE = ((0.229 * 255) ** 2, (0.224 * 255) ** 2, (0.225 * 255) ** 2)

PUBLISHED: Mapping[str, Published] = MappingProxyType(
    {
        "efficientnet_b1": Published(application=keras.applications.EfficientNetB1),
        "efficientnet_b3": Published(application=keras.applications.EfficientNetB3),
        "resnet50": Published(application=keras.applications.ResNet50, mean=_CAFFE_MEAN),
        "resnet101": Published(application=keras.applications.ResNet101, mean=_CAFFE_MEAN),
        "densenet121": Published(
            application=keras.applications.DenseNet121, mean=_TORCH_MEAN, variance=_TORCH_VARIANCE
        ),
        "vgg16": Published(application=keras.applications.VGG16, mean=_CAFFE_MEAN),
    },
)


def build_published(
    image_size: int, *, name: str, extend: Callable[..., keras.KerasTensor] | None = None
) -> keras.Model:
    """Build the backbone `name` from (image_size, image_size, 1) to its last feature map, weights drawn at random.

    `extend(layer, *inputs)` calls each layer in place of the layer itself, and may put more layers behind it.
    """
    published = PUBLISHED[name]
    image = keras.Input((image_size, image_size, 1), name="image")
    three = keras.layers.Concatenate(name="three_channels")([image, image, image])
    x = keras.layers.Rescaling(128.0, 127.0, name="pixels")(three)
    if published.mean is not None:
        normalised = keras.layers.Normalization(mean=published.mean, variance=published.variance, name="normalised")
        x = normalised(x)
    drawn = published.application(include_top=False, weights=None, input_tensor=x)
    copy = keras.models.clone_model(drawn, clone_function=_Copyist(), call_function=extend)
    return keras.Model(copy.inputs[0], copy.outputs[0], name=name)


class _Copyist:
    """Copy layers; a name that Keras counted up through the whole process is counted through this network instead."""

    def __init__(self) -> None:
        self._counted: dict[str, int] = {}

    def __call__(self, layer: Any) -> Any:
        config = layer.get_config()
        if match := _AUTOMATIC.fullmatch(layer.name):
            kind = match[1]
            self._counted[kind] = self._counted.get(kind, 0) + 1
            config["name"] = f"{kind}_{self._counted[kind]}"
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            # EfficientNet's own: with random weights it is empty, with ImageNet's it must hold these.
            config |= {"mean": IMAGENET_MEAN, "variance": IMAGENET_VARIANCE}
        return type(layer).from_config(config)
