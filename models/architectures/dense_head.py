"""A head with a hidden layer: global average pooling, dense 256 with dropout, logits; and its exact Grad-CAM.

With the last map A of h x w cells, hidden weights V and output weights W, none with a bias,

    logit = W relu(V mean(A)) = mean over cells of (W gate V A_ij),    gate = 1 where V mean(A) > 0, else 0,

since V and the mean commute and relu(z) = gate z. The gradient of the logit with respect to A_ij is (W gate V) / (h w),
the same in every cell, so Grad-CAM (Selvaraju et al., ICCV 2017, eq. 1 and 2) is relu(cell_ij) / (h w) of the cells
W gate V A_ij, and the logit is the mean of the cells, as in `head`.
"""

import keras

UNITS = 256


def attach_dense_head(
    backbone: keras.Model, *, outputs: int, name: str, dropout: float = 0.3, prefix: str = ""
) -> keras.Model:
    """Return a model with the outputs `logits` (N, outputs), `cam` (N, h, w, outputs), `embedding` (N, k).

    `prefix` begins the names of its layers, so that several heads can share a backbone.
    """
    features = backbone.output
    cell_count = features.shape[1] * features.shape[2]
    each = keras.layers.Conv2D(UNITS, 1, use_bias=False, name=f"{prefix}hidden_cells")(features)
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{prefix}hidden_mean")(each)
    gate = keras.ops.sign(keras.layers.ReLU(name=f"{prefix}hidden")(pooled))
    # Dropping a gate drops its hidden unit.
    kept = keras.layers.Dropout(dropout, name=f"{prefix}hidden_dropout")(gate)
    gated = keras.layers.Multiply(name=f"{prefix}gated_cells")([each, kept])
    evidence = keras.layers.Conv2D(outputs, 1, use_bias=False, kernel_initializer="zeros", name=f"{prefix}cells")(gated)
    logits = keras.layers.GlobalAveragePooling2D(name=f"{prefix}logits")(evidence)
    positive = keras.layers.ReLU(name=f"{prefix}positive_cells")(evidence)
    cam = keras.layers.Rescaling(1.0 / cell_count, name=f"{prefix}cam")(positive)
    embedding = keras.layers.GlobalAveragePooling2D(name=f"{prefix}embedding")(features)
    return keras.Model(backbone.input, {"logits": logits, "cam": cam, "embedding": embedding}, name=name)
