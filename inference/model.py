"""A model ready to be asked, and what it says about one radiograph: in both mirror images, and closer, if it wants."""

from dataclasses import dataclass

import numpy as np

from inference.bundle import Bundle
from inference.errors import BundleError
from inference.preprocessing import Letterbox, prepare
from inference.runtime import Runtime, Scores, load_runtime
from inference.sight import Sight
from inference.types import Float32Array, Radiograph


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a model says about one radiograph."""

    views: Scores
    """Of the radiograph, and of its mirror image where the model looks at both; every map as the radiograph lies."""

    @property
    def logits(self) -> Float32Array:
        """Mean of the views, shape (outputs,)."""
        return np.asarray(self.views.logits.mean(axis=0), np.float32)

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
        """Look at the whole radiograph, prepared as this model wants it, and at its mirror image if it wants that, too.

        Raises
        ------
        UnsupportedImageError
            Too small, not two-dimensional, or not finite.
        """
        tensor, box = prepare(radiograph, self.bundle.preprocessing)
        return Look(views=self._view(tensor)), box

    def look_for(self, output: str, radiograph: Radiograph) -> Sight:
        """Return what the output of this label says and where, after a closer look where the manifest asks for one.

        Raises
        ------
        UnsupportedImageError
            Too small, not two-dimensional, or not finite.
        """
        manifest, preprocessing = self.bundle.manifest, self.bundle.preprocessing
        column = manifest.labels.index(output)

        def see(views: Scores, box: Letterbox) -> Sight:
            return Sight(logits=views.logits[:, column], cams=views.cam[..., column], box=box)

        def look(box: Letterbox) -> Sight:
            square = box.draw(radiograph.pixels, padding=preprocessing.padding)
            return see(self._view(preprocessing.normalise(square)), box)

        first, box = self.run(radiograph)
        sight = see(first.views, box)
        if manifest.second_look is None:
            return sight
        return sight.look_closer(manifest.second_look, radiograph.pixel_aspect, look)

    def _view(self, tensor: Float32Array) -> Scores:
        if not self.bundle.manifest.mirrored:
            return self.runtime.run(tensor)
        return turn_back(self.runtime.run(add_mirror_image(tensor)))


def add_mirror_image(tensor: Float32Array) -> Float32Array:
    """Return one input tensor (1, size, size, 1) with its left-right mirror image, (2, size, size, 1)."""
    return np.concatenate([tensor, tensor[:, :, ::-1]])


def turn_back(scores: Scores) -> Scores:
    """Return the scores of such a pair with the mirror image's maps turned back, to lie as the radiograph does."""
    cam = np.stack([scores.cam[0], scores.cam[1, :, ::-1]])
    return Scores(logits=scores.logits, cam=cam, embedding=scores.embedding)
