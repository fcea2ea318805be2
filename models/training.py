"""Train what lies above the frozen layers, on their cached features. Keras code here is backend-neutral."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from inference.types import Float32Array, Task
from models.features import Features
from models.network import CELLS
from models.recipe import Progress, Recipe

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
Targets = dict[str, Float32Array]

UNKNOWN = -1.0
"""A target that a sample says nothing about; it adds nothing to the loss."""
FRACTURED_CELL = 4.0
"""Weight of a cell with a fracture against one without: few cells have one."""
EPOCHS, BACKUP = "epochs.csv", "backup"
WATCHED = 160
"""Held-out radiographs on which an epoch's loss is watched."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What one head learns."""

    task: Task
    targets: Float32Array
    """Shape (samples, outputs): 0, 1 or UNKNOWN."""

    @property
    def exclusive(self) -> bool:
        """Whether exactly one output is true (softmax), or each on its own."""
        return self.task is not Task.FRACTURE


class _Batches(keras.utils.PyDataset):  # type: ignore[misc]  # keras carries no types
    """The draws of chosen samples, epoch after epoch, each with its own variation."""

    def __init__(
        self,
        features: Features,
        lessons: Sequence[Lesson],
        chosen: BoolArray,
        batch_size: int,
        *,
        cells: bool,
        epoch: int,
    ) -> None:
        super().__init__()
        self._features, self._lessons, self._batch_size, self._cells = features, lessons, batch_size, cells
        epochs, draws = features.drawn.shape
        numbers = np.arange(epochs * draws).reshape(epochs, draws)
        self._epochs = [numbers[epoch][chosen[features.drawn[epoch]]] for epoch in range(epochs)]
        self._epoch = epoch

    def __len__(self) -> int:
        # Epochs differ by a few draws; the shortest decides, so that the schedule of the learning rate is known.
        return math.ceil(self.images / self._batch_size)

    @property
    def images(self) -> int:
        """Images of an epoch."""
        return min(len(epoch) for epoch in self._epochs)

    def __getitem__(self, index: int) -> tuple[Float32Array, Targets]:
        size = self._batch_size
        draws = self._epochs[self._epoch][index * size : (index + 1) * size]
        rows = self._features.drawn.ravel()[draws]
        shows = self._features.shows[draws]
        cover = self._features.cover[draws].astype(np.float32)
        targets: Targets = {}
        for lesson in self._lessons:
            wanted = lesson.targets[rows].copy()
            if lesson.task is Task.FRACTURE:
                wanted[~shows[:, 0] & (wanted > 0.5).any(axis=1)] = UNKNOWN
                if self._cells:
                    targets[CELLS] = _spread(wanted, cover)
            elif lesson.task is Task.REGION:
                wanted[~shows[:, 1]] = UNKNOWN
            else:
                wanted[~shows[:, 0]] = UNKNOWN
            targets[lesson.task.value] = wanted
        return np.asarray(self._features.maps[draws], np.float32), targets

    def on_epoch_end(self) -> None:
        self._epoch = (self._epoch + 1) % len(self._epochs)


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]  # keras carries no types
    """Advance a bar by the images of every batch, through all epochs that are left."""

    def __init__(self, progress: Progress, title: str, *, images: int, batch_size: int, epochs: int) -> None:
        super().__init__()
        self._images, self._batch_size = images, batch_size
        self._bar = iter(progress(range(images * epochs), title))

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002 - as Keras calls it
        """Count the batch's images; the last of an epoch may be smaller."""
        for _ in range(min(self._batch_size, self._images - batch * self._batch_size)):
            next(self._bar, None)

    def on_train_end(self, logs: object = None) -> None:  # noqa: ARG002 - as Keras calls it
        """Bring the bar to its end, which closes it."""
        for _ in self._bar:
            pass


def _spread(wanted: Float32Array, cover: Float32Array) -> Float32Array:
    """Return the target of every cell and output: the cover, 0 without a fracture, UNKNOWN where the target is.

    Of a fracture that nobody outlined no cell is known.
    """
    known = wanted[:, np.newaxis, np.newaxis, :]
    unknown = (known < 0) | ((known > 0) & (cover.max(axis=(1, 2), keepdims=True) <= 0)[..., np.newaxis])
    return np.where(unknown, UNKNOWN, known * cover[..., np.newaxis]).astype(np.float32)


def fit(
    top: keras.Model,
    features: Features,
    lessons: Sequence[Lesson],
    chosen: BoolArray,
    recipe: Recipe,
    *,
    state: Path,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Fit the trainable part on the chosen samples; return the losses and accuracies of each epoch.

    Every epoch leaves its state in the folder `state`, whose name the progress bar bears; an interrupted training goes
    on from it, and at the end only the losses stay there. Where samples are left out, `val_…` is measured on some of
    them as they are, without variation.
    """
    state.mkdir(parents=True, exist_ok=True)
    cells, epoch = CELLS in top.output, _count_finished(state)
    batches = _Batches(features, lessons, chosen, recipe.batch_size, cells=cells, epoch=epoch)
    steps = len(batches) * recipe.epochs
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 10,
        steps,
        warmup_target=recipe.learning_rate,
        warmup_steps=max(1, steps // 20),
    )
    losses = {name: _loss(name, lessons) for name in top.output}
    top.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=1.0),
        loss=losses,
        loss_weights={name: _weight(name, lessons, recipe) for name in losses},
        metrics={lesson.task.value: [_accuracy(lesson)] for lesson in lessons},
    )
    top.fit(
        batches,
        epochs=recipe.epochs,
        validation_data=_watch(features, lessons, ~chosen, losses),
        verbose=0,
        callbacks=[
            keras.callbacks.CSVLogger(state / EPOCHS, append=True),
            keras.callbacks.BackupAndRestore(str(state / BACKUP)),
            ProgressBar(
                progress,
                f"{state.name}, {recipe.epochs} epochs",
                images=batches.images,
                batch_size=recipe.batch_size,
                epochs=recipe.epochs - epoch,
            ),
        ],
    )
    return _read_epochs(state / EPOCHS)


def _count_finished(state: Path) -> int:
    """Return how many epochs an interrupted training has finished, as Keras' BackupAndRestore wrote it down."""
    metadata = state / BACKUP / "training_metadata.json"
    return int(json.loads(metadata.read_text(encoding="utf-8"))["epoch"]) if metadata.exists() else 0


def _read_epochs(table: Path) -> list[dict[str, Any]]:
    """Return each epoch's figures; where an epoch was begun again after it was written, the later ones."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = {int(row.pop("epoch")) + 1: row for row in csv.DictReader(file)}
    # Keras writes NA for what was not measured.
    measured = {
        epoch: {name: float(value) for name, value in row.items() if value != "NA"} for epoch, row in rows.items()
    }
    return [
        {"epoch": epoch, **{name: round(value, 5) for name, value in row.items()}} for epoch, row in measured.items()
    ]


def _loss(name: str, lessons: Sequence[Lesson]) -> Any:
    if name == CELLS:
        return _cells_loss
    exclusive = next(lesson.exclusive for lesson in lessons if lesson.task.value == name)
    return _softmax_loss if exclusive else _sigmoid_loss


def _weight(name: str, lessons: Sequence[Lesson], recipe: Recipe) -> float:
    if name == CELLS:
        return recipe.localisation
    return recipe.region_weight if name == Task.REGION.value and len(lessons) > 1 else 1.0


def _watch(
    features: Features, lessons: Sequence[Lesson], left: BoolArray, losses: Mapping[str, Any]
) -> tuple[Float32Array, Targets] | None:
    rows = np.flatnonzero(left)
    if not rows.size:
        return None
    rows = rows[np.linspace(0, len(rows) - 1, min(WATCHED, len(rows))).astype(int)]
    targets = {lesson.task.value: lesson.targets[rows] for lesson in lessons}
    if CELLS in losses:
        cells = features.cover.shape[1]
        outputs = targets[Task.FRACTURE.value].shape[1]
        targets[CELLS] = np.full((len(rows), cells, cells, outputs), UNKNOWN, np.float32)
    return np.asarray(features.looks[rows, 0], np.float32), targets


def _softmax_loss(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    known = keras.ops.cast(keras.ops.max(targets, axis=-1) > 0, "float32")
    wanted = keras.ops.clip(targets, 0.0, 1.0)
    return known * keras.losses.categorical_crossentropy(wanted, logits, from_logits=True, label_smoothing=0.05)


def _sigmoid_loss(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    return keras.ops.sum(_each(targets, logits), axis=-1)


def _cells_loss(targets: keras.KerasTensor, cells: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean over cells of the binary cross-entropy, fractured cells weighing more."""
    weight = 1.0 + (FRACTURED_CELL - 1.0) * keras.ops.clip(targets, 0.0, 1.0)
    return keras.ops.sum(keras.ops.mean(_each(targets, cells) * weight, axis=(1, 2)), axis=-1)


def _each(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    known = keras.ops.cast(targets >= 0, "float32")
    wanted = keras.ops.clip(targets, 0.0, 1.0)
    return known * (keras.ops.relu(logits) - logits * wanted + keras.ops.softplus(-keras.ops.abs(logits)))


def _accuracy(lesson: Lesson) -> keras.metrics.Metric:
    return keras.metrics.MeanMetricWrapper(_named if lesson.exclusive else _decided, name="accuracy")


def _named(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return the share of samples with a target whose highest logit is the true one."""
    known = keras.ops.cast(keras.ops.max(targets, axis=-1) > 0, "float32")
    right = keras.ops.cast(
        keras.ops.equal(keras.ops.argmax(targets, axis=-1), keras.ops.argmax(logits, axis=-1)), "float32"
    )
    return keras.ops.sum(right * known) / keras.ops.maximum(keras.ops.sum(known), 1.0)


def _decided(targets: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    """Return the share of samples with a target whose first logit lies on the right side of 0."""
    known = keras.ops.cast(targets[:, 0] >= 0, "float32")
    right = keras.ops.cast(keras.ops.equal(targets[:, 0] > 0.5, logits[:, 0] > 0), "float32")
    return keras.ops.sum(right * known) / keras.ops.maximum(keras.ops.sum(known), 1.0)
