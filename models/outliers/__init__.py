"""Draw pictures that are no radiograph of a limb, to set the scope gate by.

Every picture is drawn or cut afresh from a `numpy.random.Generator`, so a seed reproduces it. Noise, blank plates,
textures, scenes, test phantoms, text, drawings, and caricatures of trunks, heads and sections are drawn; trunks and
heads that a data set happens to show, and pieces of its radiographs, are cut (`models.outliers.scraps`).
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import numpy as np

from inference.types import Float32Array
from models.outliers.anatomy import (
    draw_abdomen,
    draw_chest,
    draw_lateral_chest,
    draw_section,
    draw_skull,
    draw_spine,
)
from models.outliers.canvas import Rng, Size
from models.outliers.patterns import draw_line_pairs, draw_phantom, draw_screen, draw_shapes
from models.outliers.surfaces import draw_blank, draw_noise, draw_scene, draw_texture

FAMILIES: Mapping[str, Callable[[Rng, Size], Float32Array]] = MappingProxyType(
    {
        "noise": draw_noise,
        "blank": draw_blank,
        "texture": draw_texture,
        "scene": draw_scene,
        "line pairs": draw_line_pairs,
        "phantom": draw_phantom,
        "shapes": draw_shapes,
        "screen": draw_screen,
        "chest": draw_chest,
        "lateral chest": draw_lateral_chest,
        "skull": draw_skull,
        "spine": draw_spine,
        "abdomen": draw_abdomen,
        "section": draw_section,
    }
)
"""What there is to draw, by name: functions of a generator and a size, to float32 [0, 1] of that shape."""


def draw_outliers(each: int, *, seed: int) -> Iterator[tuple[str, Float32Array]]:
    """Yield `each` pictures of every family, with the family's name."""
    for number, (family, draw) in enumerate(FAMILIES.items()):
        rng = np.random.default_rng((seed, number))
        for _ in range(each):
            yield family, draw(rng, _draw_size(rng))


def _draw_size(rng: Rng) -> Size:
    aspect = np.exp(rng.uniform(-0.35, 0.35))
    return round(320 * min(1, aspect)), round(320 * min(1, 1 / aspect))
