"""Networks with drawn weights, of which every one matters."""

import math
import os
from typing import Any

import numpy as np
import pytest

large = pytest.mark.skipif(
    os.environ.get("DICOM_NODE_TEST_EVERYTHING") != "1",
    reason="large networks are built only where everything runs (DICOM_NODE_TEST_EVERYTHING=1)",
)


def draw_weights(model: Any) -> None:
    rng = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([draw(weight, rng, find_gain(layer.name)) for weight in layer.weights])


def find_gain(name: str) -> float:
    """Return a factor that keeps activations near 1 through the whole network."""
    if name in {"conv1_conv", "block1_conv1"}:
        return 0.02  # sees pixels up to 151 from their mean
    # Small branches beside their shortcut, as trained networks have them: sums of many stay of one size.
    return 0.2 if name.endswith(("_3_bn", "project_bn")) else 1.0


def draw(weight: Any, rng: np.random.Generator, gain: float) -> np.ndarray:
    shape = tuple(weight.shape)
    if weight.name in {"bias", "beta", "moving_mean"}:
        return rng.normal(0, 0.1, shape).astype(np.float32)
    if len(shape) <= 1:
        return (gain * rng.uniform(0.7, 1.3, shape)).astype(np.float32)
    fan_in = np.prod(shape[:2]) if "depthwise" in weight.path or "dwconv" in weight.path else np.prod(shape[:-1])
    return rng.normal(0, 1.3 * gain / math.sqrt(fan_in), shape).astype(np.float32)


def find_evidence(model: Any) -> Any:
    """Find the convolution that weighs the channels of each cell."""
    return next(layer for layer in model.layers if layer.name in {"cells", "cells_weights"} and layer.weights)


def run_keras(model: Any, images: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.asarray(answer) for name, answer in model(images, training=False).items()}
