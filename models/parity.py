"""Export a saved Keras model, and compare what both answer to random inputs."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from inference.bundle import ONNX
from inference.preprocessing import Preprocessing
from inference.runtime import OnnxRuntime
from inference.types import Float32Array
from models import architectures
from models.export import export_onnx

OUTPUTS = ("logits", "cam", "embedding")
TOLERANCE = 1e-3
"""Largest difference that rounding explains, relative to the largest answer where that is above 1."""


class NotExportableError(Exception):
    """The model cannot be exported for a bundle; the message says what it lacks."""


class Difference(NamedTuple):
    """How far the export is from the Keras model, over all inputs and all elements of one output."""

    output: str
    largest_answer: float
    largest_difference: float

    @property
    def is_rounding(self) -> bool:
        """Whether rounding explains it."""
        return self.largest_difference <= TOLERANCE * max(1.0, self.largest_answer)


def load_keras(path: Path) -> keras.Model:
    """Load a saved model with the layers of `models.architectures` known to Keras.

    Raises
    ------
    NotExportableError
        It is no Keras model, or has other inputs or outputs than a bundle's.
    """
    assert architectures.BACKBONES  # noqa: S101 - imported for the layers it registers with Keras
    try:
        model = keras.saving.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise NotExportableError(f"{path.name} is not a usable Keras model: {error}") from error
    outputs = model.output if isinstance(model.output, Mapping) else {}
    if missing := [name for name in OUTPUTS if name not in outputs]:
        raise NotExportableError(f"{path.name} has no output named {', '.join(missing)}: see models/architectures")
    shape = tuple(model.input.shape[1:]) if not isinstance(model.input, list | Mapping) else ()
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] != 1:
        raise NotExportableError(f"{path.name} reads {shape}, not one grey square (size, size, 1)")
    return model


def export(model: keras.Model, out: Path) -> bool:
    """Write `model.onnx`, and tell whether its kernels are stored in half precision: where that changes none of them.

    Raises
    ------
    NotExportableError
        The model holds a kind of layer, or uses one in a way, that has no translation.
    """
    kernels = [weight.numpy() for weight in model.weights if weight.name == "kernel"]
    half = all(np.array_equal(kernel, kernel.astype(np.float16).astype(np.float32)) for kernel in kernels)
    try:
        exported = export_onnx(model, half=half)
    except KeyError as error:
        raise NotExportableError(f"no translation for a layer of kind {error}") from error
    except ValueError as error:
        raise NotExportableError(f"no translation for the way a layer is used: {error}") from error
    out.mkdir(parents=True, exist_ok=True)
    (out / ONNX).write_bytes(exported.SerializeToString(deterministic=True))
    return half


def compare(model: keras.Model, folder: Path, preprocessing: Preprocessing | None, *, samples: int) -> list[Difference]:
    """Answer random radiographs with both models, and return how far they are apart, output by output.

    Without a bundle's preprocessing the inputs lie between -1 and 1.
    """
    side = model.input.shape[1]
    plain = preprocessing or Preprocessing(image_size=side, scale=2.0, offset=-1.0)
    squares = np.random.default_rng(0).random((samples, side, side), dtype=np.float32)
    tensor: Float32Array = np.concatenate([plain.normalise(square) for square in squares])
    expected = model.predict_on_batch(tensor)
    scores = OnnxRuntime(folder / ONNX, threads=2).run(tensor)
    found = []
    for name in OUTPUTS:
        wanted = np.asarray(expected[name])
        apart = np.abs(np.asarray(getattr(scores, name)) - wanted).max()
        found.append(Difference(name, float(np.abs(wanted).max()), float(apart)))
    return found
