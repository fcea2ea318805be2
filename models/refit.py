"""Fit a linear head anew, on what the trained backbone makes of radiographs as they are served.

Training ends with a head that followed a moving backbone through strong variations. A logistic regression on the final
embeddings settles it (the reverse of "linear probing, then fine-tuning", Kumar et al., ICLR 2022).
"""

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from inference.types import Float32Array
from models.architectures.head import GAIN

INVERSE_PENALTY = 1.0
ITERATIONS = 300


def refit_head(model: keras.Model, embeddings: Float32Array, label: NDArray[np.int64]) -> bool:
    """Set the weights of a mean-pooled linear head so that its logits are those of a multinomial regression.

    `embeddings` has shape (samples, channels). Returns False, and changes nothing, where the head is another one or an
    output has no sample.
    """
    layer = next((layer for layer in model.layers if layer.name.endswith("cells_weights")), None)
    outputs = model.output["logits"].shape[-1]
    if layer is None or layer.name.startswith("fine") or len(np.unique(label)) < max(outputs, 3):
        return False
    fitted = LogisticRegression(C=INVERSE_PENALTY, fit_intercept=False, max_iter=ITERATIONS).fit(embeddings, label)
    # The logit is GAIN times the mean over cells of the weighted channels, and the embedding is that mean.
    layer.set_weights([np.asarray(fitted.coef_.T / GAIN, np.float32)[np.newaxis, np.newaxis]])
    return True
