"""What is to be learned from a data set: the targets of each head."""

import numpy as np

from inference.types import Float32Array, Task
from models.datasets import REGIONS, Dataset
from models.fracture_outputs import ANY, list_outputs
from models.training import UNKNOWN, Lesson


def name_outputs(dataset: Dataset) -> tuple[str, ...]:
    """Return the fracture outputs: one for every region together, one for each region with enough fractures."""
    return list_outputs(sample.region for sample in dataset.samples if sample.fractured)


def teach(task: Task, dataset: Dataset) -> Lesson:
    """Return what the head of this task learns from the data set."""
    return {Task.FRACTURE: teach_fracture, Task.REGION: teach_region, Task.TYPE: teach_type}[task](dataset)


def teach_fracture(dataset: Dataset) -> Lesson:
    """Return targets of the fracture outputs; UNKNOWN for other regions and contradicted samples."""
    outputs = name_outputs(dataset)
    targets = np.full((len(dataset.samples), len(outputs)), UNKNOWN, np.float32)
    for row, sample in enumerate(dataset.samples):
        for column, output in enumerate(outputs):
            if not sample.contradicted and sample.fractured is not None and output in {ANY, sample.region}:
                targets[row, column] = sample.fractured
    return Lesson(task=Task.FRACTURE, targets=targets)


def teach_region(dataset: Dataset) -> Lesson:
    """Return one-hot targets of the regions that occur; UNKNOWN for samples of another region or none."""
    labels = [sample.region for sample in dataset.samples]
    return Lesson(task=Task.REGION, targets=_one_hot(labels, name_regions(dataset)))


def name_regions(dataset: Dataset) -> tuple[str, ...]:
    """Return the regions that the data set shows: others cannot be learned, and are not named."""
    shown = {sample.region for sample in dataset.samples}
    return tuple(region for region in REGIONS if region in shown)


def name_types(dataset: Dataset) -> tuple[str, ...]:
    """Return the types that the folders of the data set are called after, in the order of their names.

    Only those of a radiograph that teaches its type: what cannot be learned is not named.
    """
    return tuple(sorted({one.label for one in dataset.samples if one.label and not one.contradicted}))


def teach_type(dataset: Dataset) -> Lesson:
    """Return one-hot targets of the types; UNKNOWN for contradicted samples and those of no type."""
    labels = ["" if sample.contradicted else sample.label for sample in dataset.samples]
    return Lesson(task=Task.TYPE, targets=_one_hot(labels, name_types(dataset)))


def _one_hot(labels: list[str], classes: tuple[str, ...]) -> Float32Array:
    targets = np.full((len(labels), len(classes)), UNKNOWN, np.float32)
    for row, label in enumerate(labels):
        if label in classes:
            targets[row] = [label == name for name in classes]
    return targets
