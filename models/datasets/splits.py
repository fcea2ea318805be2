"""Splits that do not leak: what may show one patient stays on one side."""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from models.datasets.sample import TRAIN, DatasetError, Sample

BLOCK = 20
"""Neighbouring numbers are usually views of one patient: blocks of this many stay on one side of a split."""

IntArray = NDArray[np.int64]


def assign_folds(samples: Iterable[Sample], *, folds: int, seed: int) -> IntArray:
    """Return the fold of every sample: inseparable units stay together, regions, fractures and classes are balanced.

    Raises
    ------
    DatasetError
        Too little can be separated to fill the folds.
    """
    listed = list(samples)
    units = inseparable_units(listed)
    if (count := len(set(units.tolist()))) < folds:
        raise DatasetError(f"{folds} folds need as many patients or groups; there are {count}")
    strata = [f"{sample.region} {sample.fractured} {sample.label}" for sample in listed]
    _, encoded = np.unique(strata, return_inverse=True)
    assigned = np.full(len(listed), -1, np.int64)
    # A grouped splitter refuses where every class is rarer than the folds; one class then holds all.
    if np.bincount(encoded).max() < folds:
        encoded = np.zeros_like(encoded)
    splitter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer members than folds cannot be in each of them.
        warnings.filterwarnings("ignore", message="The least populated class")
        for fold, (_, held_out) in enumerate(splitter.split(np.zeros(len(listed)), encoded, units)):
            assigned[held_out] = fold
    if len(set(assigned.tolist())) < folds:
        raise DatasetError(f"one patient or group is so large that of {folds} folds some are empty")
    return assigned


def inseparable_units(samples: Sequence[Sample]) -> IntArray:
    """Return the number of each sample's connected component: samples that share a group, a block or a patient."""
    names, groups = np.unique([sample.group for sample in samples], return_inverse=True)
    ties = [(group, tie) for group, sample in zip(groups, samples, strict=True) for tie in _ties(sample)]
    shared, places = np.unique([tie for _, tie in ties], return_inverse=True)
    nodes = len(names) + len(shared)
    ends = [group for group, _ in ties]
    edges = coo_array((np.ones(len(ties)), (ends, places + len(names))), shape=(nodes, nodes))
    _, component = connected_components(edges, directed=False)
    return np.asarray(component[groups], np.int64)


def official_parts(samples: Sequence[Sample]) -> dict[str, IntArray]:
    """Return the rows of each part of the official split by its name, `{}` where there is none.

    A training sample that is inseparable from one held out is in no part: what is held out stays as published.
    """
    units = inseparable_units(samples) if samples else np.zeros(0, np.int64)
    splits = np.array([sample.split for sample in samples], dtype=str)
    held_out = units[(splits != TRAIN) & (splits != "")]
    parts = {part: np.flatnonzero(splits == part) for part in sorted(set(splits.tolist()) - {""})}
    if TRAIN in parts:
        parts[TRAIN] = parts[TRAIN][~np.isin(units[parts[TRAIN]], held_out)]
    return parts


def _ties(sample: Sample) -> Iterable[str]:
    if sample.numbered:
        yield f"block {sample.number // BLOCK}"
    if sample.patient:
        yield f"patient {sample.patient}"
