"""A radiograph as a model reads it in training: plain, and in random variations."""

import numpy as np

from inference.preprocessing import Letterbox, Preprocessing
from inference.types import Float32Array
from models.augmentation import Strength, collimate, draw_affine, draw_cells, place, vary_exposure
from models.datasets import Sample, read_unit_pixels


def render_variations(
    sample: Sample, preprocessing: Preprocessing, *, copies: int, cells: int, rng: np.random.Generator
) -> tuple[Float32Array, Float32Array]:
    """Return input tensors (copies, size, size, 1), the first one plain, and the cover of the cells."""
    pixels = read_unit_pixels(sample.path)
    size = preprocessing.image_size
    box = Letterbox.fit(rows=pixels.shape[0], columns=pixels.shape[1], pixel_aspect=1.0, size=size)
    plain = np.array([[box.scale_x, 0, box.left], [0, box.scale_y, box.top]], np.float32)
    squares = [box.draw(pixels, padding=preprocessing.padding)]
    covers = [draw_cells(sample.polygons, plain, size=size, cells=cells)]
    strength = Strength()
    for _ in range(copies - 1):
        affine = draw_affine(box, rng, strength)
        square = place(pixels, affine, size=size, padding=preprocessing.padding)
        if rng.random() < 0.3:
            square = collimate(square, rng)
        squares.append(vary_exposure(square, rng, strength))
        covers.append(draw_cells(sample.polygons, affine, size=size, cells=cells))
    return np.concatenate([preprocessing.normalise(square) for square in squares]), np.stack(covers)
