"""Run an exported model: ONNX Runtime, or TensorFlow as the reference.

Both answer the same three arrays; a parity test holds them together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnxruntime

from inference.bundle import KERAS, ONNX, Bundle
from inference.errors import BundleError
from inference.types import Float32Array

RUNTIMES = ("onnx", "tensorflow")
_OUTPUTS = ("logits", "cam", "embedding")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a model says about n inputs."""

    logits: Float32Array
    """Shape (n, outputs), before calibration."""
    cam: Float32Array
    """Grad-CAM of every output, shape (n, h, w, outputs), not negative, unscaled."""
    embedding: Float32Array
    """Mean of the last feature map, shape (n, channels)."""


class Runtime(Protocol):
    """One loaded model."""

    def run(self, tensor: Float32Array) -> Scores:
        """Answer an input tensor of shape (n, size, size, 1)."""


class OnnxRuntime:
    """The model's export, on `threads` threads of ONNX Runtime."""

    def __init__(self, path: Path, *, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Idle threads must not spin: receiver and web share the machine.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises many unrelated types for an unusable file
            raise BundleError(f"{path.parent.name}/{path.name} is not a usable ONNX model: {error}") from error
        self._input = self._session.get_inputs()[0].name

    def run(self, tensor: Float32Array) -> Scores:
        """Answer an input tensor of shape (n, size, size, 1)."""
        logits, cam, embedding = self._session.run(_OUTPUTS, {self._input: tensor})
        return Scores(logits=logits, cam=cam, embedding=embedding)


class TensorFlowRuntime:
    """The bundle's Keras model, as one traced TensorFlow function."""

    def __init__(self, path: Path) -> None:
        # Seconds to import, and only wanted when asked for.
        import tensorflow as tf  # noqa: PLC0415

        import inference.keras_layers  # noqa: F401, PLC0415 - registers what the file may hold

        try:
            model = tf.keras.models.load_model(path, compile=False)
        except (OSError, ValueError, TypeError) as error:
            raise BundleError(f"{path.parent.name}/{path.name} is not a usable Keras model: {error}") from error
        signature = tf.TensorSpec((None, *model.input.shape[1:]), tf.float32)
        self._function: Any = tf.function(lambda image: model(image, training=False), input_signature=[signature])

    def run(self, tensor: Float32Array) -> Scores:
        """Answer an input tensor of shape (n, size, size, 1)."""
        outputs = self._function(tensor)
        logits, cam, embedding = (outputs[name].numpy() for name in _OUTPUTS)
        return Scores(logits=logits, cam=cam, embedding=embedding)


def load_runtime(bundle: Bundle, *, runtime: str, threads: int) -> Runtime:
    """Load a bundle's model into the runtime of this name, one of `RUNTIMES`.

    Raises
    ------
    BundleError
        The model file is not usable, or the bundle carries no Keras model for TensorFlow.
    ValueError
        No runtime has this name.
    """
    if runtime == "onnx":
        return OnnxRuntime(bundle.folder / ONNX, threads=threads)
    if runtime == "tensorflow":
        if KERAS not in bundle.manifest.digests:
            raise BundleError(f"{bundle.folder.name} carries no {KERAS}: it runs with the onnx runtime only")
        return TensorFlowRuntime(bundle.folder / KERAS)
    raise ValueError(f"no runtime {runtime!r}: one of {', '.join(RUNTIMES)}")
