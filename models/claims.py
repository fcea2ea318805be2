"""What a fracture bundle may claim of a data set: known before anything is trained, and decided by figures after."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.types import Task
from models.datasets import REGIONS, Dataset
from models.lessons import name_types

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

CLAIM_FROM = 10
"""Fewer fractures than this support no claim about a region."""
CLAIM_AUC = 0.6
"""A region is served when the lower end of its AUC's interval reaches this."""


class NothingToClaimError(Exception):
    """Nothing that a bundle could answer: the labels do not allow it, or no region's figures support a claim."""


def check_claims(dataset: Dataset, tasks: Collection[Task], fold: IntArray) -> None:
    """Refuse, before hours of training, what could not be served after it.

    Raises
    ------
    NothingToClaimError
        The labels tell too little for one of the tasks; the message says what is missing.
    """
    for task in tasks:
        _CHECKS[task](dataset, fold)


def can_be_calibrated(fractured: BoolArray, fold: IntArray) -> bool:
    """Tell whether fractures and others are left to calibrate on whichever fold is kept out."""
    return all(np.unique(fold[fractured == kind]).size > 1 for kind in (True, False))


def may_be_served(figures: Mapping[str, Any]) -> bool:
    """Tell whether a region's figures support a claim."""
    low = figures["auc"]["low"]
    return bool(figures["fractures"] >= CLAIM_FROM and low is not None and low >= CLAIM_AUC)


def explain_figures(together: Mapping[str, Any]) -> str:
    """Say why no region is served after training, by the figures of all regions together."""
    auc = together["auc"]
    return (
        f"no region has {CLAIM_FROM} fractures and an AUC whose interval stays above {CLAIM_AUC} (all together: "
        f"{together['fractures']} fractures, AUC {auc['value']}, {auc['low']} to {auc['high']}): "
        "train longer, on more radiographs, or from ImageNet weights"
    )


def _check_fractures(dataset: Dataset, fold: IntArray) -> None:
    region = np.array([sample.region for sample in dataset.samples])
    fractured = np.array([bool(sample.fractured) for sample in dataset.samples])
    usable = np.array([sample.fractured is not None and not sample.contradicted for sample in dataset.samples])
    if not np.isin(region, REGIONS).any():
        raise NothingToClaimError(
            "this data set names no region, and a fracture bundle answers for regions: tell it with --region"
        )
    rows = usable & np.isin(region, REGIONS)
    enough = any((rows & fractured & (region == name)).sum() >= CLAIM_FROM for name in REGIONS)
    if enough and can_be_calibrated(fractured[rows], fold[rows]):
        return
    raise NothingToClaimError(
        f"no region could be served: none has {CLAIM_FROM} fractures, and radiographs with and without in two folds"
    )


def _check_regions(dataset: Dataset, _: IntArray) -> None:
    found = sorted({sample.region for sample in dataset.samples} & set(REGIONS))
    if len(found) < 2:
        raise NothingToClaimError(f"a region model tells regions apart; in this data set: {found or 'none is named'}")


def _check_types(dataset: Dataset, _: IntArray) -> None:
    if len(found := name_types(dataset)) < 2:
        raise NothingToClaimError(f"a type model tells types apart; in this data set: {found or 'none is named'}")


_CHECKS = {Task.FRACTURE: _check_fractures, Task.REGION: _check_regions, Task.TYPE: _check_types}
