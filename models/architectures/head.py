"""The head every architecture gets: logits and their Grad-CAM in one forward pass.

With features A of k channels on h x w cells and weights W, `logit = mean_ij(sum_k W_k A_kij)`. Its gradient is
W_k / (h w) everywhere, so the Grad-CAM weights (Selvaraju et al., ICCV 2017, eq. 1 and 2) are known without a backward
pass: `cam = relu(sum_k W_k A_k) / (h w)`.
"""

import keras


def attach_head(backbone: keras.Model, *, outputs: int, name: str, dropout: float = 0.2) -> keras.Model:
    """Return a model with the outputs `logits` (N, outputs), `cam` (N, h, w, outputs), `embedding` (N, k)."""
    features = backbone.output
    cell_count = features.shape[1] * features.shape[2]
    kept = keras.layers.SpatialDropout2D(dropout, name="head_dropout")(features)
    cells = keras.layers.Conv2D(outputs, 1, use_bias=False, kernel_initializer="zeros", name="cells")(kept)
    logits = keras.layers.GlobalAveragePooling2D(name="logits")(cells)
    positive = keras.layers.ReLU(name="positive_cells")(cells)
    cam = keras.layers.Rescaling(1.0 / cell_count, name="cam")(positive)
    embedding = keras.layers.GlobalAveragePooling2D(name="embedding")(features)
    return keras.Model(backbone.input, {"logits": logits, "cam": cam, "embedding": embedding}, name=name)
