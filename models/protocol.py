"""Cross-validation by the rule: every figure comes from predictions on radiographs the fold's model never saw."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import Preprocessing
from inference.types import Float32Array
from models.architectures import build
from models.datasets import Sample
from models.export import round_kernels
from models.features import Features, cache_features
from models.pretrained import load_imagenet_weights
from models.recipe import Progress, Recipe
from models.training import fit, split

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# EfficientNet-Lite reads (x - 127) / 128 of 8-bit pixels.
IMAGENET_SCALE, IMAGENET_OFFSET = 255 / 128, -127 / 128


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one model says about samples, plain, without variation."""

    logits: Float32Array
    """Shape (samples, outputs)."""
    cams: Float32Array
    """Shape (samples, h, w, outputs)."""
    embeddings: Float32Array
    """Shape (samples, channels)."""


@dataclass(frozen=True, kw_only=True)
class Fold:
    """One fold: which samples its model did not see, and what it says about all of them."""

    held_out: BoolArray
    answers: Answers


class Experiment:
    """Samples, targets and a recipe, with the frozen features computed once for all folds."""

    def __init__(
        self,
        samples: Sequence[Sample],
        targets: Float32Array,
        recipe: Recipe,
        *,
        exclusive: bool,
        progress: Progress,
        store: Path | None,
    ) -> None:
        self.samples, self.targets, self.recipe = samples, targets, recipe
        self.preprocessing = Preprocessing(image_size=recipe.image_size, scale=IMAGENET_SCALE, offset=IMAGENET_OFFSET)
        self._exclusive, self._progress = exclusive, progress
        model = self._build()
        cells = model.output["cam"].shape[1]
        self._features: Features = cache_features(
            samples,
            split(model, recipe.frozen_until)[0],
            self.preprocessing,
            recipe,
            cells=cells,
            progress=progress,
            store=store,
        )

    def cross_validate(self, folds: IntArray) -> Iterator[Fold]:
        """Yield every fold's answers, from a model trained on the others."""
        for fold in self._progress(range(int(folds.max()) + 1), "folds"):
            held_out = folds == fold
            yield Fold(held_out=held_out, answers=self.answer(self.train(~held_out)))

    def train(self, chosen: BoolArray) -> keras.Model:
        """Return the model trained on the chosen samples that have a target, its kernels at half precision."""
        model = self._build()
        known = chosen & (self.targets >= 0).any(axis=1)
        top = split(model, self.recipe.frozen_until)[1]
        fit(top, self._features, self.targets, np.flatnonzero(known), self.recipe, exclusive=self._exclusive)
        round_kernels(model)
        return model

    def answer(self, model: keras.Model) -> Answers:
        """Return what a model trained here says about every sample."""
        head = keras.Model(model.get_layer(self.recipe.frozen_until).output, model.output)
        size = 64
        parts = [
            head.predict_on_batch(self._features.maps[start : start + size, 0].astype(np.float32))
            for start in range(0, len(self.samples), size)
        ]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        return Answers(logits=joined["logits"], cams=joined["cam"], embeddings=joined["embedding"])

    def _build(self) -> keras.Model:
        keras.utils.set_random_seed(self.recipe.seed)
        outputs = self.targets.shape[1]
        model = build(self.recipe.architecture, image_size=self.recipe.image_size, outputs=outputs)
        load_imagenet_weights(model, self.recipe.architecture)
        return model


def keep_outputs(model: keras.Model, architecture: str, kept: Sequence[int]) -> keras.Model:
    """Return the same model with only some of its outputs, in this order."""
    smaller = build(architecture, image_size=model.input.shape[1], outputs=len(kept))
    for layer in model.layers:
        weights = layer.get_weights()
        if layer.name == "cells":
            weights = [weights[0][..., list(kept)]]
        smaller.get_layer(layer.name).set_weights(weights)
    return smaller


def gather_held_out(folds: Sequence[Fold]) -> tuple[Float32Array, Float32Array]:
    """Return out-of-fold logits (samples, outputs) and maps (samples, h, w, outputs)."""
    logits, cams = np.zeros_like(folds[0].answers.logits), np.zeros_like(folds[0].answers.cams)
    for fold in folds:
        logits[fold.held_out] = fold.answers.logits[fold.held_out]
        cams[fold.held_out] = fold.answers.cams[fold.held_out]
    return logits, cams
