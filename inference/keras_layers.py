"""Layers that a bundle's Keras model may hold beside Keras' own; imported where such a model is built or loaded."""

import keras
import numpy as np


@keras.saving.register_keras_serializable("inference")
class LogSumExpPooling(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Pool cells (N, h, w, outputs) to `scale * log(sum_ij exp(cell_ij)) + offset`, shape (N, outputs).

    One suspicious cell is enough, as one fracture is; the mean would dilute it. `scale` and `offset` are learned.
    """

    def build(self, shape: tuple[int, ...]) -> None:
        """Start so that cells without evidence, all 0, give a logit of -1."""
        count = float(np.log(shape[1] * shape[2]))
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")
        self.offset = self.add_weight(
            name="offset", shape=(shape[-1],), initializer=keras.initializers.Constant(-1.0 - count)
        )

    def call(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        """Pool over both axes of the map."""
        return self.scale * keras.ops.logsumexp(cells, axis=(1, 2)) + self.offset


@keras.saving.register_keras_serializable("inference")
class PooledCam(keras.layers.Layer):  # type: ignore[misc]  # keras carries no types
    """Turn cells (N, h, w, outputs) into the Grad-CAM of log-sum-exp pooled logits, given its scale (outputs,)."""

    def build(self, shape: tuple[int, ...]) -> None:
        """Hold the scale of the pooling; `tie_cam` copies it."""
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones", trainable=False)

    def call(self, cells: keras.KerasTensor) -> keras.KerasTensor:
        """Return relu(scale * cells) / (h w)."""
        return keras.ops.relu(self.scale * cells) / (cells.shape[1] * cells.shape[2])
