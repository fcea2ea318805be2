"""A type bundle: temperature, and how well it tells the types apart, all out of fold."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from inference.types import Float32Array, Task
from models.bundle_writer import Made
from models.calibration import cross_calibrate, fit_temperature
from models.datasets import Dataset
from models.label_figures import type_figures
from models.lessons import name_types
from models.pool import name_images
from models.predictions import TypePredictions
from models.protocol import Trained, keep_outputs

IntArray = NDArray[np.int64]


def make(dataset: Dataset, trained: Trained) -> Made:
    """Turn the answers of all folds into a calibrated model with its figures."""
    types = name_types(dataset)
    number = number_types(dataset, types)
    temperature = fit_temperature(trained.unseen(Task.TYPE).logits[number >= 0, 0], number[number >= 0])
    predictions = tabulate(dataset, trained, temperature)
    return Made(
        model=keep_outputs(trained.final, trained.recipe, Task.TYPE, range(len(types))),
        fields={"labels": types, "type": {"temperature": temperature}},
        figures=type_figures(predictions, types),
        predictions=predictions,
    )


def tabulate(dataset: Dataset, trained: Trained, temperature: float) -> TypePredictions:
    """Return what each radiograph's own fold says of its type, and what the final model says at this temperature."""
    types = name_types(dataset)
    number = number_types(dataset, types)
    shares = cross_calibrate(trained.unseen(Task.TYPE).logits[:, 0], number, trained.fold)
    final = softmax(trained.seen[Task.TYPE].logits[:, 0] / temperature, axis=1)
    names, known = np.array(types), number >= 0
    return TypePredictions(
        image=np.array(name_images(dataset.samples)),
        fold=trained.fold,
        cluster=trained.cluster,
        type=np.where(known, names[number], ""),
        predicted=names[shares.argmax(axis=1)],
        confidence=shares.max(axis=1),
        rank=np.where(known, rank_labels(shares, number), 0),
        final_type=names[final.argmax(axis=1)],
        final_confidence=final.max(axis=1),
    )


def number_types(dataset: Dataset, types: tuple[str, ...]) -> IntArray:
    """Return the place of each sample's type among `types`; -1 where it has none, or a copy of it has another."""
    places = {name: place for place, name in enumerate(types)}
    return np.array([-1 if one.contradicted else places.get(one.label, -1) for one in dataset.samples], np.int64)


def rank_labels(shares: Float32Array, number: IntArray) -> IntArray:
    """Return the place of each row's own label by its probability, 1 for the most probable."""
    order = np.argsort(-shares, axis=1, kind="stable")
    return np.asarray((order == number[:, np.newaxis]).argmax(axis=1) + 1, np.int64)
