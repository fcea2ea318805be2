"""Random variations of a radiograph: another position, another exposure, another machine.

Everything is drawn from a `numpy.random.Generator`, so a seed reproduces it.
"""

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from inference.preprocessing import Letterbox
from inference.types import Float32Array


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How far the variations go."""

    rotation_deg: float = 20.0
    quarter_turns: float = 0.1
    """Probability of a turn by 90, 180 or 270 degrees."""
    zoom: tuple[float, float] = (0.8, 1.5)
    stretch: float = 0.1
    """Largest relative change of the ratio of width to height."""
    shift: float = 0.12
    """Largest shift, as a fraction of the square."""
    gamma: tuple[float, float] = (0.6, 1.6)


def draw_affine(box: Letterbox, rng: np.random.Generator, strength: Strength) -> Float32Array:
    """Return a 2 x 3 matrix from source pixels to the square: the letterbox, then a random movement."""
    half = box.size / 2
    angle = np.deg2rad(rng.uniform(-strength.rotation_deg, strength.rotation_deg))
    if rng.random() < strength.quarter_turns:
        angle += rng.integers(1, 4) * np.pi / 2
    zoom = np.exp(rng.uniform(*np.log(strength.zoom)))
    stretch = 1 + rng.uniform(-strength.stretch, strength.stretch)
    mirror = rng.choice([-1.0, 1.0])
    scale = np.diag([zoom * stretch * mirror, zoom / stretch])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ scale
    shift = rng.uniform(-strength.shift, strength.shift, 2) * box.size
    fitted = np.array([[box.scale_x, 0, box.left - half], [0, box.scale_y, box.top - half]])
    moved = linear @ fitted
    moved[:, 2] += half + shift
    return np.asarray(moved, np.float32)


def place(pixels: Float32Array, affine: Float32Array, *, size: int, padding: float) -> Float32Array:
    """Return the square (size, size) of a radiograph under an affine map of continuous coordinates."""
    shrink = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    if shrink < 1:
        # Area averaging first: warpAffine alone would alias thin fracture lines.
        rows, columns = pixels.shape
        width, height = max(1, round(columns * shrink)), max(1, round(rows * shrink))
        pixels = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        ratio = np.diag([columns / width, rows / height]).astype(np.float32)
        affine = np.hstack([affine[:, :2] @ ratio, affine[:, 2:]])
    centred = affine.copy()
    centred[:, 2] += affine[:, :2] @ np.array([0.5, 0.5], np.float32) - 0.5
    return np.asarray(
        cv2.warpAffine(pixels, centred, (size, size), flags=cv2.INTER_LINEAR, borderValue=padding),
        np.float32,
    )


def vary_exposure(square: Float32Array, rng: np.random.Generator, strength: Strength) -> Float32Array:
    """Return the square under another gamma, window, sharpness, noise and compression, range [0, 1]."""
    varied = square ** np.float32(np.exp(rng.uniform(*np.log(strength.gamma))))
    low, high = rng.uniform(-0.1, 0.15), rng.uniform(0.7, 1.1)
    varied = np.clip((varied - low) / (high - low), 0, 1)
    if rng.random() < 0.25:
        varied = cv2.GaussianBlur(varied, (0, 0), rng.uniform(0.3, 0.9))
    if rng.random() < 0.25:
        varied = np.clip(varied + rng.normal(0, rng.uniform(0.005, 0.03), varied.shape), 0, 1)
    if rng.random() < 0.25:
        varied = _compress(varied, quality=int(rng.integers(40, 90)))
    return np.asarray(varied, np.float32)


def _compress(square: Float32Array, *, quality: int) -> Float32Array:
    file = BytesIO()
    Image.fromarray((square * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(np.asarray(Image.open(file)) / np.float32(255), np.float32)


def collimate(square: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return the square with a black or white shutter over part of its border, as collimators and plates leave."""
    covered = square.copy()
    value = rng.choice([0.0, 1.0])
    left, right, top, bottom = (rng.integers(1, square.shape[0] // 6) if rng.random() < 0.5 else 0 for _ in range(4))
    covered[:, :left] = value
    covered[:, covered.shape[1] - right :] = value
    covered[:top] = value
    covered[covered.shape[0] - bottom :] = value
    return covered


def draw_cells(
    polygons: tuple[tuple[tuple[float, float], ...], ...], affine: Float32Array, *, size: int, cells: int
) -> Float32Array:
    """Return how much of each cell (cells, cells) the outlined fractures cover, a quarter counting as all of it."""
    mask = np.zeros((size, size), np.float32)
    for polygon in polygons:
        moved = np.asarray(polygon, np.float32) @ affine[:, :2].T + affine[:, 2]
        cv2.fillPoly(mask, [np.round(moved).astype(np.int32)], 1.0)
    coverage = cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(4 * coverage, 0, 1), np.float32)
