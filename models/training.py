"""Train the upper stages of an ImageNet backbone on cached features of its frozen lower stages.

The frozen stages run once over the plain radiograph and a few random variations of it (`models.features`); every epoch
draws from these. Keras code here is backend-neutral.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from inference.types import Float32Array
from models.features import Features
from models.recipe import Recipe

IntArray = NDArray[np.int64]

UNKNOWN = -1.0
"""A target that a sample says nothing about; it adds nothing to the loss."""


def split(model: keras.Model, frozen_until: str) -> tuple[keras.Model, keras.Model]:
    """Return the frozen part and the trainable part, sharing their layers with `model`.

    The trainable part answers `logits` and `cells`; its batch normalisation keeps the ImageNet statistics.
    """
    cut = model.get_layer(frozen_until).output
    top = keras.Model(cut, {"logits": model.output["logits"], "cells": model.get_layer("cells").output})
    for layer in top.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
    return keras.Model(model.input, cut), top


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras carries no types
    """One random variation of each drawn sample; a new draw every epoch."""

    def __init__(self, features: Features, targets: Float32Array, chosen: IntArray, recipe: Recipe) -> None:
        super().__init__()
        self._features, self._targets, self._chosen, self._recipe = features, targets, chosen, recipe
        self._rng = np.random.default_rng(recipe.seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return math.ceil(len(self._drawn) / self._recipe.batch_size)

    def __getitem__(self, index: int) -> tuple[Float32Array, dict[str, Float32Array]]:
        size = self._recipe.batch_size
        rows, copies = self._drawn[index * size : (index + 1) * size], self._copies[index * size : (index + 1) * size]
        cover = self._features.cells[rows, copies].astype(np.float32)
        total = cover.sum(axis=(1, 2), keepdims=True)
        where = np.divide(cover, total, out=np.zeros_like(cover), where=total > 0)
        targets = {"logits": self._targets[rows], "cells": where[..., np.newaxis]}
        return self._features.maps[rows, copies].astype(np.float32), targets

    def on_epoch_end(self) -> None:
        drawn = self._chosen
        if self._recipe.negatives is not None:
            positive = self._targets[drawn].max(axis=1) > 0.5
            wanted = min(int(positive.sum() * self._recipe.negatives), int((~positive).sum()))
            drawn = np.concatenate([drawn[positive], self._rng.choice(drawn[~positive], wanted, replace=False)])
        self._drawn = self._rng.permutation(drawn)
        self._copies = self._rng.integers(0, self._features.maps.shape[1], len(drawn))


def fit(
    top: keras.Model,
    features: Features,
    targets: Float32Array,
    chosen: IntArray,
    recipe: Recipe,
    *,
    exclusive: bool,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Fit the trainable part on the chosen samples.

    `targets` has shape (samples, outputs), 0, 1 or UNKNOWN; `exclusive` targets exclude each other (softmax).
    """
    batches = _Batches(features, targets, chosen, recipe)
    steps = len(batches) * recipe.epochs
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 10,
        steps,
        warmup_target=recipe.learning_rate,
        warmup_steps=max(1, steps // 10),
    )
    top.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=1.0),
        loss={"logits": _softmax_loss if exclusive else _sigmoid_loss, "cells": _localisation_loss},
        loss_weights={"logits": 1.0, "cells": recipe.localisation},
    )
    top.fit(batches, epochs=recipe.epochs, verbose=0, callbacks=list(callbacks))


def _softmax_loss(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=0.05)


def _sigmoid_loss(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    known = keras.ops.cast(targets >= 0, "float32")
    wanted = keras.ops.clip(targets, 0.0, 1.0)
    each = keras.ops.relu(logits) - logits * wanted + keras.ops.softplus(-keras.ops.abs(logits))
    return keras.ops.sum(each * known, axis=-1)


def _localisation_loss(where: keras.KerasTensor, cells: keras.KerasTensor) -> keras.KerasTensor:
    """Cross-entropy of the softmax over cells with the outlined area; nothing outlined adds nothing.

    Blind to a constant added to all cells, so it does not pull at the logit, which is their mean.
    """
    flat = keras.ops.reshape(cells, (-1, cells.shape[1] * cells.shape[2], cells.shape[3]))
    wanted = keras.ops.reshape(where, (-1, cells.shape[1] * cells.shape[2], 1))
    return -keras.ops.mean(keras.ops.sum(wanted * keras.ops.log_softmax(flat, axis=1), axis=1), axis=-1)
