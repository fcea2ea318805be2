"""Networks by name.

Every architecture is `backbone -> last feature map -> cells -> logits`. Whatever the head, a logit is a pooling of the
cells and Grad-CAM is known from them in the forward pass (see `head` and `dense_head`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import keras

from models.architectures.attention import build_efficientnet_b3_attention
from models.architectures.cbam import build_resnet101_cbam
from models.architectures.custom_cnn import build_custom_cnn
from models.architectures.dense_head import attach_dense_head
from models.architectures.efficientnet_lite import build_efficientnet_lite
from models.architectures.head import attach_head
from models.architectures.published import build_published

Backbone = Callable[[int], keras.Model]
"""Image size (pixels of the square) to a model from (size, size, 1) to the last feature map."""

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "efficientnet_lite0": partial(build_efficientnet_lite, width=1.0, depth=1.0),
        "efficientnet_lite1": partial(build_efficientnet_lite, width=1.0, depth=1.1),
        "efficientnet_lite2": partial(build_efficientnet_lite, width=1.1, depth=1.2),
        "efficientnet_b1": partial(build_published, name="efficientnet_b1"),
        "efficientnet_b3_attention": build_efficientnet_b3_attention,
        "resnet101_cbam": build_resnet101_cbam,
        "resnet50": partial(build_published, name="resnet50"),
        "densenet121": partial(build_published, name="densenet121"),
        "vgg16": partial(build_published, name="vgg16"),
        "custom_cnn": build_custom_cnn,
    },
)

Head = Callable[..., keras.Model]
"""Backbone, `outputs` and `name` to a model that answers `logits`, `cam` and `embedding`."""

HEADS: Mapping[str, Head] = MappingProxyType(
    {"efficientnet_b3_attention": attach_dense_head, "resnet101_cbam": attach_dense_head},
)
"""Architectures with a head of their own; the others have `attach_head`."""


def build(name: str, *, image_size: int, outputs: int) -> keras.Model:
    """Build the architecture `name` with `outputs` logits, weights drawn at random.

    Raises
    ------
    KeyError
        No architecture has this name.
    """
    attach: Head = HEADS.get(name, attach_head)
    return attach(BACKBONES[name](image_size), outputs=outputs, name=name)


__all__ = ["BACKBONES", "HEADS", "build"]
