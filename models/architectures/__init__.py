"""Networks by name.

Every architecture is built as `backbone -> features -> cells -> logits`: the last feature map, one 1 x 1 convolution
without bias, the mean over the map. A logit is then nothing but the mean of its cells, and Grad-CAM is the cells
themselves (see `head`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import keras

from models.architectures.efficientnet_lite import build_efficientnet_lite
from models.architectures.head import attach_head

Backbone = Callable[[int], keras.Model]
"""Image size (pixels of the square) to a model from (size, size, 1) to the last feature map."""

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "efficientnet_lite0": partial(build_efficientnet_lite, depth=1.0),
        "efficientnet_lite1": partial(build_efficientnet_lite, depth=1.1),
    },
)


def build(name: str, *, image_size: int, outputs: int) -> keras.Model:
    """Build the architecture `name` with `outputs` logits, weights drawn at random.

    Raises
    ------
    KeyError
        No architecture has this name.
    """
    return attach_head(BACKBONES[name](image_size), outputs=outputs, name=name)


__all__ = ["BACKBONES", "build"]
