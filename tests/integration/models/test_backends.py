"""Training on another of Keras' backends: what trains the models asks Keras alone."""

import importlib.util
import os
import subprocess
import sys

import pytest

BACKEND = next((name for name in ("torch", "jax") if importlib.util.find_spec(name)), None)
PROGRAM = """
import sys
from pathlib import Path

import keras
import numpy as np

from inference.types import Task
from models.features import Features
from models.network import build_network
from models.recipe import Recipe
from models.training import Lesson, fit

assert keras.backend.backend() == sys.argv[2]
rng = np.random.default_rng(0)
features = Features(
    looks=rng.normal(size=(8, 3, 64, 64, 1)).astype(np.float16),
    drawn=np.stack([rng.permutation(8)]),
    maps=rng.normal(size=(8, 64, 64, 1)).astype(np.float16),
    cover=np.ones((8, 4, 4), np.float16),
    shows=np.ones((8, 2), bool),
)
fractured = (np.arange(8) % 2).astype(np.float32)[:, np.newaxis]
types = np.eye(2, dtype=np.float32)[np.arange(8) % 2]
lessons = [Lesson(task=Task.FRACTURE, targets=fractured), Lesson(task=Task.TYPE, targets=types)]
recipe = Recipe(
    architecture="efficientnet_lite0", image_size=64, weights="random", epochs=1, batch_size=4, learning_rate=1e-3,
    localisation=5.0,
)
network = build_network("efficientnet_lite0", image_size=64, outputs={Task.FRACTURE: 1, Task.TYPE: 2})
_, top = network.split("", taught_cells=True, pretrained=False)
before = [layer.get_weights()[0] for layer in top.layers if layer.weights]
(epoch,) = fit(
    top, features, lessons, np.arange(8) < 8, recipe, state=Path(sys.argv[1]), progress=lambda steps, _: iter(steps)
)
after = [layer.get_weights()[0] for layer in top.layers if layer.weights]
assert int(keras.ops.convert_to_numpy(top.optimizer.iterations)) == 2
assert all(np.isfinite(value) for value in epoch.values()), epoch
assert not np.array_equal(before[0], after[0]), "the stem learned nothing"
print("losses", sorted(epoch))
"""


@pytest.mark.skipif(BACKEND is None, reason="torch is not installed, nor jax")
def test_two_steps_are_trained_without_tensorflow(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), BACKEND],
        env={**os.environ, "KERAS_BACKEND": BACKEND},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert "fracture_cells_loss" in result.stdout
