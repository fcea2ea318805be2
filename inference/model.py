"""A model ready to be asked, and what it says about one radiograph, looked at once or in both of its mirror images."""

from dataclasses import dataclass

import numpy as np

from inference.bundle import Bundle
from inference.errors import BundleError
from inference.preprocessing import Letterbox, prepare
from inference.runtime import Runtime, Scores, load_runtime
from inference.types import Float32Array, Radiograph


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a model says about one radiograph."""

    views: Scores
    """Of the radiograph, and where the model looks twice of its mirror image; every map as the radiograph lies."""

    @property
    def logits(self) -> Float32Array:
        """Mean of the views, shape (outputs,): what calibration is fitted on."""
        return np.asarray(self.views.logits.mean(axis=0), np.float32)

    @property
    def cam(self) -> Float32Array:
        """Mean of the views, shape (h, w, outputs)."""
        return np.asarray(self.views.cam.mean(axis=0), np.float32)

    @property
    def embedding(self) -> Float32Array:
        """Of the radiograph itself, shape (channels,)."""
        return np.asarray(self.views.embedding[0], np.float32)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A verified bundle and the runtime that runs it."""

    bundle: Bundle
    runtime: Runtime

    @classmethod
    def load(cls, bundle: Bundle, *, runtime: str, threads: int) -> "Model":
        """Load the bundle's model; raises BundleError when it is unusable or answers other outputs than it says."""
        loaded = load_runtime(bundle, runtime=runtime, threads=threads)
        size = bundle.manifest.preprocessing.image_size
        answered = loaded.run(np.zeros((1, size, size, 1), np.float32)).logits.shape[1]
        if answered != len(bundle.manifest.labels):
            raise BundleError(f"{bundle.folder.name}: {answered} outputs, {len(bundle.manifest.labels)} labels")
        return cls(bundle=bundle, runtime=loaded)

    def run(self, radiograph: Radiograph) -> tuple[Look, Letterbox]:
        """Prepare the radiograph as this model wants it, and look at it once, or twice where the manifest says so.

        Raises
        ------
        UnsupportedImageError
            Too small, not two-dimensional, or not finite.
        """
        tensor, box = prepare(radiograph, self.bundle.preprocessing)
        if not self.bundle.manifest.mirrored:
            return Look(views=self.runtime.run(tensor)), box
        return Look(views=turn_back(self.runtime.run(add_mirror_image(tensor)))), box


def add_mirror_image(tensor: Float32Array) -> Float32Array:
    """Return one input tensor (1, size, size, 1) with its left-right mirror image, (2, size, size, 1)."""
    return np.concatenate([tensor, tensor[:, :, ::-1]])


def turn_back(scores: Scores) -> Scores:
    """Return the scores of such a pair with the mirror image's maps turned back, to lie as the radiograph does."""
    cam = np.stack([scores.cam[0], scores.cam[1, :, ::-1]])
    return Scores(logits=scores.logits, cam=cam, embedding=scores.embedding)
