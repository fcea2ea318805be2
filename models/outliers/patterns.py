"""Line pairs, test phantoms, drawings, and screens of text."""

from collections.abc import Callable

import cv2
import numpy as np

from inference.types import Float32Array
from models.outliers.canvas import Field, Rng, Size, clip, grid, print_word, stretch


def draw_line_pairs(rng: Rng, size: Size) -> Float32Array:
    """Draw bars, stars, rings, zone plates, chessboards or grids."""
    x, y = grid(size)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    rate = np.exp(rng.uniform(np.log(4), np.log(120)))
    radius = np.hypot(x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3))
    waves: list[Callable[[], Field]] = [
        lambda: np.sin(rate * along),
        lambda: np.sin(rate * along * (1.2 + along)),
        lambda: np.sin(rate * radius),
        lambda: np.sin(rate * radius**2),
        lambda: np.sin(np.round(rate) * np.arctan2(y, x)),
        lambda: np.sin(rate * along) * np.sin(rate * across),
        lambda: np.maximum(np.cos(rate * along), np.cos(rate * across)) - rng.uniform(0.5, 0.97),
    ]
    wave = waves[rng.integers(len(waves))]()
    if rng.random() < 0.6:
        wave = np.sign(wave)
    if rng.random() < 0.4:
        wave = np.where(np.maximum(np.abs(x), np.abs(y)) < rng.uniform(0.3, 0.9), wave, rng.choice([-1, 0, 1]))
    return stretch(wave + rng.choice([0, 0.05]) * rng.normal(size=size), rng)


def draw_phantom(rng: Rng, size: Size) -> Float32Array:
    """Draw a quality-control image: steps of grey, ramps, fields in fields, line pairs, discs of low contrast, text."""
    picture = np.full(size, rng.random() * 0.8)
    rows, columns = size
    if rng.random() < 0.5:
        pitch = int(rng.integers(12, 60))
        picture[::pitch], picture[:, ::pitch] = 0.9, 0.9
    for _ in range(int(rng.integers(1, 9))):
        height, width = (int(side * rng.uniform(0.06, 0.6)) for side in size)
        top, left = int(rng.integers(rows - height)), int(rng.integers(columns - width))
        picture[top : top + height, left : left + width] = _phantom_part(rng, (height, width))
    if rng.random() < 0.4:
        cv2.circle(picture, (columns // 2, rows // 2), int(min(size) * rng.uniform(0.2, 0.49)), rng.random(), 2)
    if rng.random() < 0.4:
        _write(picture, rng, lines=int(rng.integers(1, 4)))
    return clip(picture + rng.choice([0, 0.01, 0.04]) * rng.normal(size=size))


def draw_shapes(rng: Rng, size: Size) -> Float32Array:
    """Draw a few flat or outlined figures on an even ground."""
    picture = np.full(size, rng.choice([0.0, 1.0, rng.random()]))
    for _ in range(int(rng.integers(1, 12))):
        shade, thick = float(rng.random()), int(rng.choice([-1, -1, 1, 3, 8]))
        centre = tuple(int(side * rng.random()) for side in size[::-1])
        axes = tuple(int(min(size) * rng.uniform(0.03, 0.45)) for _ in range(2))
        kind = rng.integers(4)
        if kind == 0:
            cv2.ellipse(picture, centre, axes, rng.uniform(0, 180), 0, 360, shade, thick)
        elif kind == 1:
            cv2.rectangle(picture, centre, (centre[0] + axes[0], centre[1] + axes[1]), shade, thick)
        elif kind == 2:
            corners = (rng.uniform(0, 1, (rng.integers(3, 9), 2)) * size[::-1]).astype(np.int32)
            cv2.polylines(picture, [corners], rng.random() < 0.5, shade, abs(thick))
        else:
            corners = (np.array(centre) + rng.normal(size=(rng.integers(3, 7), 2)) * axes).astype(np.int32)
            cv2.fillPoly(picture, [corners], shade)
    if rng.random() < 0.5:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 8))
    return clip(picture + rng.choice([0, 0.01, 0.05]) * rng.normal(size=size))


def draw_screen(rng: Rng, size: Size) -> Float32Array:
    """Draw a page or screen of text, with panels, a table, a curve."""
    dark = rng.random() < 0.4
    picture = np.full(size, rng.uniform(0, 0.2) if dark else rng.uniform(0.8, 1))
    rows, columns = size
    for _ in range(int(rng.integers(0, 4))):
        corner = (int(rng.integers(columns)), int(rng.integers(rows)))
        end = (corner[0] + int(columns * rng.random()), corner[1] + int(rows * rng.random()))
        cv2.rectangle(picture, corner, end, float(rng.random()), int(rng.choice([-1, 1])))
    if rng.random() < 0.3:
        curve = np.cumsum(rng.normal(size=60)) if rng.random() < 0.5 else rng.exponential(size=60)
        points = np.stack([np.linspace(0, columns, 60), rows / 2 + curve * rows / 20], axis=1)
        cv2.polylines(picture, [points.astype(np.int32)], False, float(dark), int(rng.integers(1, 4)))
    _write(picture, rng, lines=int(rng.integers(1, 30)))
    return clip(picture)


def _phantom_part(rng: Rng, size: Size) -> Float32Array:
    x, y = grid(size)
    along = (x if rng.random() < 0.5 else y) / 2 + 0.5
    steps = rng.integers(3, 20)
    kind = rng.integers(4)
    if kind == 0:
        return np.asarray(np.floor(along * steps) / steps, np.float32)
    if kind == 1:
        return np.asarray(along, np.float32)
    if kind == 2:
        return np.asarray(np.sign(np.sin(along * rng.uniform(10, 200))) / 2 + 0.5, np.float32)
    ground, contrast = rng.random(), rng.uniform(-0.3, 0.3)
    return np.asarray(ground + contrast * (np.hypot(x, y) < rng.uniform(0.2, 0.9)), np.float32)


def _write(picture: Field, rng: Rng, *, lines: int) -> None:
    """Write lines of random words into the picture."""
    scale = rng.uniform(0.3, 1.5)
    ink = float(rng.choice([0.0, 1.0])) if 0.3 < picture.mean() < 0.7 else float(picture.mean() < 0.5)
    top = rng.integers(picture.shape[0])
    for line in range(lines):
        letters = rng.choice([32, *range(48, 58), *range(65, 123)], rng.integers(1, 40))
        place = (int(rng.integers(-10, 40)), int((top + line * 30 * scale) % picture.shape[0]))
        print_word(picture, "".join(chr(letter) for letter in letters), place, scale=scale, ink=ink)
