"""A small network to train from nothing: four blocks of two convolutions and a pooling."""

import keras

CHANNELS = (32, 64, 128, 256)
MOMENTUM = 0.9
"""Of the statistics of batch normalisation: a small data set has few steps to learn them in."""


def build_custom_cnn(image_size: int) -> keras.Model:
    """Build the backbone from (image_size, image_size, 1) to 256 channels at stride 16."""
    image = keras.Input((image_size, image_size, 1), name="image")
    x = image
    for number, channels in enumerate(CHANNELS, start=1):
        for part in ("a", "b"):
            name = f"block{number}{part}"
            x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
            x = keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_bn")(x)
            x = keras.layers.ReLU(name=f"{name}_relu")(x)
        x = keras.layers.MaxPooling2D(2, name=f"block{number}_out")(x)
    return keras.Model(image, x, name="custom_cnn")
