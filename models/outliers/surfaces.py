"""Noise, blank plates, natural textures and scenes."""

import cv2
import numpy as np

from inference.types import Float32Array, UInt8Array
from models.outliers.canvas import Field, Rng, Size, clip, fractal, grid, stretch


def draw_noise(rng: Rng, size: Size) -> Float32Array:
    """Draw noise of one of several distributions, white or smoothed, at any contrast."""
    kind = rng.integers(5)
    if kind == 0:
        field: Field = rng.random(size)
    elif kind == 1:
        field = rng.normal(size=size)
    elif kind == 2:
        field = (rng.random(size) < rng.uniform(0.01, 0.5)).astype(float)
    elif kind == 3:
        field = rng.exponential(size=size)
    else:  # lines of noise, as a failing detector gives
        field = rng.normal(size=(size[0], 1)) + rng.uniform(0, 1) * rng.normal(size=size)
    if rng.random() < 0.6:
        field = cv2.GaussianBlur(field, (0, 0), float(np.exp(rng.uniform(np.log(0.5), np.log(30)))))
    return stretch(field, rng)


def draw_blank(rng: Rng, size: Size) -> Float32Array:
    """Draw an exposed or unexposed plate with nothing on it: even, shaded or collimated, with a little noise."""
    x, y = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    shading = rng.choice([0.0, 0.1, 0.5, 1.0]) * (x * np.cos(angle) + y * np.sin(angle)) / 2
    if rng.random() < 0.3:
        shading = shading * np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5))
    field = rng.random() + shading
    if rng.random() < 0.4:
        left, top = rng.uniform(-1, 0, 2)
        right, bottom = rng.uniform(0, 1, 2)
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        field = np.where(inside, field, rng.choice([0.0, 1.0]))
    return clip(field + rng.choice([0.0, 0.003, 0.02]) * rng.normal(size=size))


def draw_texture(rng: Rng, size: Size) -> Float32Array:
    """Draw fractal noise, its power falling as a power of the frequency as it does in natural pictures."""
    field: Field = fractal(rng, size, slope=rng.uniform(0.7, 2.4))
    if rng.random() < 0.3:
        field = np.abs(field)
    if rng.random() < 0.2:
        field = np.tanh(rng.uniform(2, 10) * field)
    if rng.random() < 0.3:  # grass, hair, cloth: a direction
        drawn_out = cv2.resize(field, None, fx=1, fy=rng.uniform(3, 12))
        field = drawn_out[: size[0]] if rng.random() < 0.5 else cv2.resize(drawn_out[:, : size[1] // 4], size[::-1])
    return stretch(field, rng)


def draw_scene(rng: Rng, size: Size) -> Float32Array:
    """Draw a dead-leaves picture (Lee, Mumford and Huang, Int. J. Comput. Vis. 41, 2001): shaded things that overlap.

    Its edges, textures and statistics are those of photographs.
    """
    picture: Field = 0.5 + 0.2 * fractal(rng, size, slope=1.6) + rng.uniform(-0.4, 0.4) * grid(size)[1]
    steepest = rng.uniform(1.5, 3.0)
    for _ in range(int(np.exp(rng.uniform(np.log(4), np.log(250))))):
        mask = np.zeros(size, np.uint8)
        radius = max(3.0, min(size) * min(0.6, 0.02 * (1 - rng.random()) ** (-1 / steepest)) * rng.uniform(0.5, 4))
        centre = rng.uniform(0, 1, 2) * np.array(size[::-1])
        _fill_thing(mask, centre, radius, rng)
        shade = rng.random() + rng.uniform(-0.3, 0.3) * grid(size)[int(rng.integers(2))]
        if rng.random() < 0.5:
            shade = shade + rng.uniform(0.02, 0.2) * fractal(rng, size, slope=rng.uniform(0.8, 2))
        picture = np.where(mask > 0, shade, picture)
    return clip(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.5)))


def _fill_thing(mask: UInt8Array, centre: Field, radius: float, rng: Rng) -> None:
    middle = (int(centre[0]), int(centre[1]))
    if rng.random() < 0.4:
        axes = (int(radius), int(radius * rng.uniform(0.3, 1)))
        cv2.ellipse(mask, middle, axes, rng.uniform(0, 180), 0, 360, 1, -1)
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
        reach = radius * rng.uniform(0.5, 1.2, len(angles))
        corners = centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach[:, np.newaxis]
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
