"""EfficientNet-Lite: EfficientNet (Tan and Le, ICML 2019) without squeeze-and-excitation, with ReLU6.

The stem and the head keep their width and the first and last stage their depth at every scale. Input: one channel,
already normalised; the three-channel ImageNet stem is summed over its channels when weights are loaded.
"""

import math
from dataclasses import dataclass

import keras

EPSILON = 1e-3


@dataclass(frozen=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int
    scaled: bool = True


# Tan and Le, table 1.
_STAGES = (
    _Stage(1, 3, 1, 1, 16, scaled=False),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320, scaled=False),
)


def stage_lengths(depth: float) -> list[int]:
    """Return the number of blocks of each of the seven stages at this depth scale."""
    return [math.ceil(stage.repeats * depth) if stage.scaled else stage.repeats for stage in _STAGES]


def scale_channels(channels: int, width: float) -> int:
    """Return the channels at this width scale: the nearest multiple of 8 that is not more than a tenth too few."""
    scaled = max(8, int(channels * width + 4) // 8 * 8)
    return scaled if scaled >= 0.9 * channels * width else scaled + 8


def build_efficientnet_lite(image_size: int, *, width: float, depth: float) -> keras.Model:
    """Build the backbone from (image_size, image_size, 1) to 1280 channels at stride 32.

    Layers are named as in `stem_conv`, `block3b_depthwise`, `block3b_out`, `top_conv`; `block3_out` ends stage 3.
    """
    inputs = keras.Input((image_size, image_size, 1), name="image")
    x = _convolve(inputs, 32, 3, stride=2, name="stem")
    for number, (stage, length) in enumerate(zip(_STAGES, stage_lengths(depth), strict=True), start=1):
        for index in range(length):
            last = index == length - 1
            name = f"block{number}{chr(ord('a') + index)}"
            end = f"block{number}_out" if last else f"{name}_out"
            stride = stage.stride if index == 0 else 1
            x = _block(x, stage, channels=scale_channels(stage.channels, width), stride=stride, name=name, end=end)
    x = _convolve(x, 1280, 1, stride=1, name="top")
    return keras.Model(inputs, x, name="efficientnet_lite")


def _convolve(x: keras.KerasTensor, channels: int, kernel: int, *, stride: int, name: str) -> keras.KerasTensor:
    conv = keras.layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=f"{name}_conv")
    normalised = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_bn")(conv(x))
    return keras.layers.ReLU(6.0, name=f"{name}_activation")(normalised)


def _block(
    x: keras.KerasTensor, stage: _Stage, *, channels: int, stride: int, name: str, end: str
) -> keras.KerasTensor:
    entering = x
    if stage.expansion != 1:
        x = _convolve(x, entering.shape[-1] * stage.expansion, 1, stride=1, name=f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_depthwise_bn")(x)
    x = keras.layers.ReLU(6.0, name=f"{name}_depthwise_activation")(x)
    residual = stride == 1 and entering.shape[-1] == channels
    x = keras.layers.Conv2D(channels, 1, padding="same", use_bias=False, name=f"{name}_project")(x)
    x = keras.layers.BatchNormalization(epsilon=EPSILON, name=f"{name}_project_bn" if residual else end)(x)
    return keras.layers.Add(name=end)([x, entering]) if residual else x
