"""CNN-transformer fusion: the cells of EfficientNetB3's last map attend to each other.

One transformer block with normalisation before each part (Vaswani et al., NeurIPS 2017; Xiong et al., ICML 2020).
"""

import keras

from models.architectures.published import build_published

CHANNELS = 256
HEADS = 4


def build_efficientnet_b3_attention(image_size: int) -> keras.Model:
    """Build the backbone from (image_size, image_size, 1) to 256 channels at stride 32, after attention."""
    backbone = build_published(image_size, name="efficientnet_b3")
    reduced = keras.layers.Conv2D(CHANNELS, 1, name="attention_reduce")(backbone.output)
    return keras.Model(backbone.input, attend(reduced), name="efficientnet_b3_attention")


def attend(x: keras.KerasTensor) -> keras.KerasTensor:
    """Let the cells of a map (N, h, w, k) attend to each other, knowing where they lie; return such a map."""
    # Where a cell lies: a convolution whose zero padding shows it the border (Chu et al., ICLR 2023). Unlike a table
    # of positions, its weights serve every image size.
    position = keras.layers.DepthwiseConv2D(7, padding="same", name="attention_position")(x)
    placed = keras.layers.Add(name="attention_placed")([x, position])
    rows, columns, channels = placed.shape[1:]
    tokens = keras.layers.Reshape((rows * columns, channels), name="attention_tokens")(placed)
    return keras.layers.Reshape((rows, columns, channels), name="attention_out")(_transform(tokens))


def _transform(tokens: keras.KerasTensor) -> keras.KerasTensor:
    """Return tokens (N, cells, channels) after one transformer block."""
    channels = tokens.shape[-1]
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="attention_norm")(tokens)
    x = keras.layers.MultiHeadAttention(HEADS, channels // HEADS, dropout=0.1, name="attention")(x, x)
    tokens = keras.layers.Add(name="attention_add")([tokens, x])
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="attention_dense_norm")(tokens)
    x = keras.layers.Dense(2 * channels, activation="gelu", name="attention_dense_1")(x)
    x = keras.layers.Dense(channels, name="attention_dense_2")(x)
    tokens = keras.layers.Add(name="attention_dense_add")([tokens, x])
    return keras.layers.LayerNormalization(epsilon=1e-6, name="attention_last_norm")(tokens)
