"""ResNet with a convolutional block attention module in every residual block (Woo et al., ECCV 2018, figure 3).

Both gates start almost open, at sigmoid(3) = 0.95, so that a network with published weights answers almost as before.
"""

from typing import Any

import keras

from models.architectures.published import build_published

REDUCTION = 16
"""Woo et al., section 4: the shared layers of channel attention have a sixteenth of the channels."""
OPEN = 3.0


def build_resnet101_cbam(image_size: int) -> keras.Model:
    """Build the backbone from (image_size, image_size, 1) to 2048 channels at stride 32."""
    return build_published(image_size, name="resnet101", extend=_extend)


def _extend(layer: Any, *inputs: Any, **options: Any) -> keras.KerasTensor:
    x = layer(*inputs, **options)
    # The last normalisation of a block's branch, just before the shortcut is added.
    return attend(x, name=layer.name.removesuffix("_3_bn")) if layer.name.endswith("_3_bn") else x


def attend(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """Weigh a map (N, h, w, k) by channel, then by place."""
    weighed = keras.layers.Multiply(name=f"{name}_channel")([x, _channel_gate(x, name)])
    return keras.layers.Multiply(name=f"{name}_spatial")([weighed, _spatial_gate(weighed, name)])


def _channel_gate(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return sigmoid(MLP(mean) + MLP(maximum)), shape (N, 1, 1, k); Woo et al., equation 2."""
    channels = x.shape[-1]
    reduce = keras.layers.Conv2D(channels // REDUCTION, 1, activation="relu", name=f"{name}_channel_reduce")
    expand = keras.layers.Conv2D(
        channels,
        1,
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(OPEN / 2),
        name=f"{name}_channel_expand",
    )
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_channel_mean")(x)
    most = keras.layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_channel_max")(x)
    total = keras.layers.Add(name=f"{name}_channel_sum")([expand(reduce(mean)), expand(reduce(most))])
    return keras.layers.Activation("sigmoid", name=f"{name}_channel_gate")(total)


def _spatial_gate(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Return sigmoid(conv7x7([mean; maximum] over channels)), shape (N, h, w, 1); Woo et al., equation 3."""
    mean, most = keras.ops.mean(x, axis=-1, keepdims=True), keras.ops.max(x, axis=-1, keepdims=True)
    both = keras.layers.Concatenate(name=f"{name}_spatial_pools")([mean, most])
    return keras.layers.Conv2D(
        1,
        7,
        padding="same",
        activation="sigmoid",
        kernel_initializer="zeros",
        bias_initializer=keras.initializers.Constant(OPEN),
        name=f"{name}_spatial_gate",
    )(both)
