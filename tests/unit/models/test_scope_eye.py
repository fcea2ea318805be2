"""The scope gate looks through untouched weights, whatever training has made of the others."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.types import Task
from models.recipe import Recipe

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

RECIPE = Recipe(
    architecture="efficientnet_lite0", weights="random", image_size=64, epochs=1, batch_size=2, learning_rate=1e-3
)


@pytest.fixture(scope="module")
def eye() -> Any:
    from models.scope_eye import build_eye

    return build_eye(RECIPE)


@pytest.fixture(scope="module")
def trained() -> Any:
    """Build a region model none of whose weights is the eye's."""
    from models.network import build_network

    model = build_network("efficientnet_lite0", image_size=64, outputs={Task.REGION: 3}).models[Task.REGION]
    rng = np.random.default_rng(3)
    for layer in model.layers:
        layer.set_weights([weights + rng.uniform(0, 0.05, weights.shape) for weights in layer.get_weights()])
    return model


def test_a_model_answers_as_trained_and_is_embedded_as_the_eye_sees(eye: Any, trained: Any) -> None:
    from models.exported import open_export
    from models.scope_eye import attach_eye

    squares = np.random.default_rng(1).normal(size=(2, 64, 64, 1)).astype(np.float32)
    answer = open_export(attach_eye(trained, eye), half=False)(squares)
    alone, seen = open_export(trained, half=False)(squares), open_export(eye, half=False)(squares)
    for name in ("logits", "cam"):
        assert np.allclose(answer[name], alone[name], atol=1e-5)
    assert np.allclose(answer["embedding"], seen["embedding"], atol=1e-5)
    assert not np.allclose(answer["embedding"], alone["embedding"], atol=1e-2)


def test_the_eye_depends_on_nothing_that_is_learned_later(eye: Any) -> None:
    from models.scope_eye import build_eye

    again = build_eye(replace(RECIPE, epochs=9, learning_rate=1.0))
    for mine, other in zip(again.get_weights(), eye.get_weights(), strict=True):
        assert np.array_equal(mine, other)
