"""The closer look that serving takes, asked of a network as training has it; see `inference.sight`."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inference.model import add_mirror_image, turn_back
from inference.preprocessing import Exposed, Letterbox, Preprocessing
from inference.runtime import Scores
from inference.sight import Sight
from inference.types import Float32Array, Task
from models.exported import Answer


class Seen(NamedTuple):
    """What all outputs say of one radiograph."""

    logits: Float32Array
    """Shape (views, outputs); with two views the second is the mirror image."""
    cams: Float32Array
    """Shape (views, h, w, outputs), each as the radiograph lies."""


@dataclass(frozen=True, kw_only=True)
class SecondLook:
    """A network that looks again."""

    answer: Answer
    """Of all its heads, whose outputs are named `task_output`."""
    task: Task
    preprocessing: Preprocessing
    share: float
    """Of each side of what was seen first."""

    def look(self, pixels: Float32Array, box: Letterbox, first: Seen) -> tuple[Seen, NDArray[np.int64]]:
        """Return what is said after the second look, and which part the map of each output then covers, (outputs, 4).

        The radiograph's pixels have shape (rows, columns), and `box` is where the first look drew them. A part is (top,
        bottom, left, right), as in `inference.preprocessing.Exposed`, and all 0 where the map is still the first.
        """
        parts: dict[Exposed, Scores] = {}

        def look_at(closer: Letterbox, *, output: int) -> Sight:
            if closer.exposed not in parts:
                parts[closer.exposed] = self._view(pixels, closer, mirrored=len(first.logits) > 1)
            views = parts[closer.exposed]
            return Sight(logits=views.logits[:, output], cams=views.cam[..., output], box=closer)

        sights = [
            Sight(logits=first.logits[:, output], cams=first.cams[..., output], box=box).look_closer(
                self.share, 1.0, partial(look_at, output=output)
            )
            for output in range(first.logits.shape[1])
        ]
        said = Seen(np.stack([one.logits for one in sights], axis=-1), np.stack([one.cams for one in sights], axis=-1))
        return said, np.array([one.box.exposed if one.first else (0, 0, 0, 0) for one in sights], np.int64)

    def _view(self, pixels: Float32Array, box: Letterbox, *, mirrored: bool) -> Scores:
        tensor = self.preprocessing.normalise(box.draw(pixels, padding=self.preprocessing.padding))
        said = self.answer(add_mirror_image(tensor) if mirrored else tensor)
        scores = Scores(**{name: said[f"{self.task.value}_{name}"] for name in ("logits", "cam", "embedding")})
        return turn_back(scores) if mirrored else scores
