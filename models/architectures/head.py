"""Heads: logits and their Grad-CAM in one forward pass.

With features A of k channels on h x w cells and weights W, the evidence of a cell is `cell_ij = sum_k W_k A_kij`. Both
poolings here have a gradient of W_k times weights that sum to 1 over the cells, so the Grad-CAM weights (Selvaraju et
al., ICCV 2017, eq. 1 and 2), the mean of the gradient over the cells, are known without a backward pass:
`cam_ij = scale * relu(cell_ij) / (h w)`.
"""

import keras

from inference.keras_layers import LogSumExpPooling, PooledCam

GAIN = 32.0
"""Lets a head, which begins at zero, learn that much faster than the backbone, which begins at ImageNet."""


def attach_head(
    backbone: keras.Model, *, outputs: int, name: str, dropout: float = 0.2, prefix: str = ""
) -> keras.Model:
    """Return a model with the outputs `logits` (N, outputs), `cam` (N, h, w, outputs), `embedding` (N, k).

    Mean pooling over the last feature map: for what the whole radiograph shows, such as its region. `prefix` begins the
    names of its layers, so that several heads can share a backbone.
    """
    features = backbone.output
    cell_count = features.shape[1] * features.shape[2]
    kept = keras.layers.SpatialDropout2D(dropout, name=f"{prefix}head_dropout")(features)
    evidence = _weigh(kept, outputs=outputs, name=f"{prefix}cells")
    logits = keras.layers.GlobalAveragePooling2D(name=f"{prefix}logits")(evidence)
    positive = keras.layers.ReLU(name=f"{prefix}positive_cells")(evidence)
    cam = keras.layers.Rescaling(1.0 / cell_count, name=f"{prefix}cam")(positive)
    embedding = keras.layers.GlobalAveragePooling2D(name=f"{prefix}embedding")(features)
    return keras.Model(backbone.input, {"logits": logits, "cam": cam, "embedding": embedding}, name=name)


def attach_fine_head(
    backbone: keras.Model, *, fine: str, outputs: int, name: str, channels: int = 192, dropout: float = 0.2
) -> keras.Model:
    """Return a model like `attach_head`'s whose cells lie at the stride of the layer `fine`, half that of the last.

    The last map says what is seen, the finer one where (Lin et al., Feature Pyramid Networks, CVPR 2017): both are
    brought to `channels` channels and added. Log-sum-exp pooling: for what one small place shows, such as a fracture.
    """
    last = backbone.output
    what = keras.layers.Conv2D(channels, 1, name="merge_last")(last)
    what = keras.layers.UpSampling2D(2, interpolation="bilinear", name="merge_up")(what)
    where = keras.layers.Conv2D(channels, 1, name="merge_fine")(backbone.get_layer(fine).output)
    merged = keras.layers.ReLU(name="merged")(keras.layers.Add(name="merge")([what, where]))
    kept = keras.layers.SpatialDropout2D(dropout, name="fine_dropout")(merged)
    evidence = _weigh(kept, outputs=outputs, name="fine_cells")
    logits = LogSumExpPooling(name="fine_logits")(evidence)
    cam = PooledCam(name="fine_cam")(evidence)
    embedding = keras.layers.GlobalAveragePooling2D(name="fine_embedding")(merged)
    return keras.Model(backbone.input, {"logits": logits, "cam": cam, "embedding": embedding}, name=name)


def _weigh(features: keras.KerasTensor, *, outputs: int, name: str) -> keras.KerasTensor:
    """Return the evidence of each cell, GAIN times a bias-free sum over channels."""
    weighed = keras.layers.Conv2D(outputs, 1, use_bias=False, kernel_initializer="zeros", name=f"{name}_weights")
    return keras.layers.Rescaling(GAIN, name=name)(weighed(features))


def tie_cam(model: keras.Model) -> None:
    """Give the map the scale that the pooling has learned; a model without log-sum-exp pooling stays as it is."""
    if any(layer.name == "fine_cam" for layer in model.layers):
        model.get_layer("fine_cam").set_weights(model.get_layer("fine_logits").get_weights()[:1])
