"""From where on stage 1 calls a radiograph outside its scope."""

import numpy as np

from models.datasets import REGIONS
from models.predictions import RegionPredictions

LIMIT = 1.0
"""Distances are in units of their limits."""
TOO_VAGUE = 0.005
"""Share of unseen limbs that a low confidence may refuse, beside what the scope does."""


def find_least_confidence(predictions: RegionPredictions) -> float:
    """Return the confidence that all but `TOO_VAGUE` of the limbs reach, each named by a model that did not see it."""
    return float(np.quantile(predictions.confidence[np.isin(predictions.region, REGIONS)], TOO_VAGUE))
