"""Random variations of a radiograph: another position, another exposure, another machine, another hospital.

The training pool shows whole plates at one contrast; radiographs elsewhere are collimated, zoomed, windowed and marked
differently. Everything is drawn from a `numpy.random.Generator`, so a seed reproduces it.
"""

from dataclasses import dataclass
from io import BytesIO

import cv2
import numpy as np
from PIL import Image

from inference.preprocessing import Letterbox
from inference.types import Float32Array

Polygons = tuple[tuple[tuple[float, float], ...], ...]


@dataclass(frozen=True, kw_only=True)
class Strength:
    """How far the variations go."""

    rotation_deg: float = 25.0
    quarter_turns: float = 0.08
    """Probability of a turn by 90, 180 or 270 degrees."""
    zoom: tuple[float, float] = (0.8, 1.3)
    """Of an ordinary variation."""
    close_ups: float = 0.35
    """Probability of a close-up, which shows part of the plate as a collimated radiograph does."""
    close_up: tuple[float, float] = (1.2, 2.4)
    """Zoom of a close-up."""
    stretch: float = 0.12
    """Largest relative change of the ratio of width to height."""
    shift: float = 0.12
    """Largest shift, as a fraction of the square."""
    gamma: tuple[float, float] = (0.5, 2.0)
    inverted: float = 0.05
    blurred: float = 0.2
    """Probability of an unsharp picture, by its focus or by movement."""
    noise: float = 0.35
    """Probability of noise: of a low dose, or of whatever amplifies it."""
    grid: float = 0.1
    """Probability of the lines of an anti-scatter grid that stood still."""
    marks: float = 0.3
    """Probability of printed marks: letters, arrows, lines, boxes."""


SHIFTED = Strength(close_ups=0.7, gamma=(0.45, 2.2), marks=0.5, inverted=0.0, grid=0.2)
"""Stands for radiographs from elsewhere when a model is tested on held-out ones."""


def draw_affine(
    box: Letterbox, rng: np.random.Generator, strength: Strength, *, centre: tuple[float, float] | None = None
) -> Float32Array:
    """Return a 2 x 3 matrix from source pixels to the square: the letterbox, then a random movement.

    A close-up is centred near `centre` (x, y; source pixels), or near a random place of the middle half.
    """
    half = box.size / 2
    angle = np.deg2rad(rng.uniform(-strength.rotation_deg, strength.rotation_deg))
    if rng.random() < strength.quarter_turns:
        angle += rng.integers(1, 4) * np.pi / 2
    close = rng.random() < strength.close_ups
    zoom = np.exp(rng.uniform(*np.log(strength.close_up if close else strength.zoom)))
    stretch = 1 + rng.uniform(-strength.stretch, strength.stretch)
    mirror = rng.choice([-1.0, 1.0])
    scale = np.diag([zoom * stretch * mirror, zoom / stretch])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ scale
    shift = rng.uniform(-strength.shift, strength.shift, 2) * box.size
    fitted = np.array([[box.scale_x, 0, box.left - half], [0, box.scale_y, box.top - half]])
    if close:
        fitted[:, 2] -= _place_of_interest(fitted, box, rng, centre)
    moved = linear @ fitted
    moved[:, 2] += half + shift
    return np.asarray(moved, np.float32)


def _place_of_interest(
    fitted: Float32Array, box: Letterbox, rng: np.random.Generator, centre: tuple[float, float] | None
) -> Float32Array:
    """Return where a close-up looks, relative to the middle of the square."""
    if centre is not None and rng.random() < 0.7:
        return np.asarray(fitted @ np.array([*centre, 1.0]), np.float32)
    down, across = box.window
    wide, high = across.stop - across.start, down.stop - down.start
    return np.asarray(rng.uniform(-0.25, 0.25, 2) * (wide, high), np.float32)


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
    low, high = rng.uniform(-0.1, 0.2), rng.uniform(0.65, 1.15)
    varied = np.clip((varied - low) / (high - low), 0, 1).astype(np.float32)
    if rng.random() < 0.2:
        varied = _equalise(varied, limit=rng.uniform(1.0, 4.0))
    sharpness = rng.random()
    if sharpness < strength.blurred:
        varied = _blur(varied, rng)
    elif sharpness < strength.blurred + 0.15:
        varied = np.clip(varied + rng.uniform(0.5, 1.5) * (varied - cv2.GaussianBlur(varied, (0, 0), 1.5)), 0, 1)
    if rng.random() < strength.grid:
        varied = add_grid(varied, rng)
    if rng.random() < strength.noise:
        varied = add_noise(varied, rng)
    if rng.random() < strength.inverted:
        varied = 1 - varied
    if rng.random() < 0.25:
        varied = _compress(varied, quality=int(rng.integers(40, 90)))
    return np.asarray(varied, np.float32)


def _blur(square: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Blur as an extended focus does, or along the way that the limb moved."""
    if rng.random() < 0.7:
        return np.asarray(cv2.GaussianBlur(square, (0, 0), rng.uniform(0.3, 1.0)), np.float32)
    way = np.zeros((7, 7), np.float32)
    reach, angle = rng.uniform(1.0, 3.0), rng.uniform(0, np.pi)
    to_x, to_y = 3 + reach * np.cos(angle), 3 + reach * np.sin(angle)
    start = (round(6 - to_x), round(6 - to_y))
    cv2.line(way, start, (round(to_x), round(to_y)), 1.0)
    return np.asarray(cv2.filter2D(square, -1, way / way.sum()), np.float32)


def add_noise(square: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return the square with the noise of few quanta, which is stronger where it is bright, or with an even one."""
    if rng.random() < 0.5:
        quanta = np.exp(rng.uniform(np.log(30), np.log(500)))
        noise = rng.poisson(np.clip(square, 0, 1) * quanta) / quanta - square
    else:
        noise = rng.normal(0, rng.uniform(0.005, 0.03), square.shape)
    if rng.random() < 0.4:
        # The pixels of most detectors share their light.
        noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.4, 0.9))
    return np.asarray(np.clip(square + noise, 0, 1), np.float32)


def add_grid(square: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return the square under the lines of an anti-scatter grid, or what coarser pixels make of them."""
    y, x = np.mgrid[: square.shape[0], : square.shape[1]]
    angle = rng.choice([0.0, np.pi / 2]) + np.deg2rad(rng.normal(0, 3))
    turns = (x * np.cos(angle) + y * np.sin(angle)) / np.exp(rng.uniform(np.log(2.2), np.log(12)))
    lines = rng.uniform(0.01, 0.08) * np.sin(2 * np.pi * (turns + rng.random()))
    return np.asarray(np.clip(square + lines, 0, 1), np.float32)


def _equalise(square: Float32Array, *, limit: float) -> Float32Array:
    """Flatten the contrast locally, as many consoles do (CLAHE)."""
    flat = cv2.createCLAHE(clipLimit=limit, tileGridSize=(8, 8)).apply(np.rint(square * 255).astype(np.uint8))
    return np.asarray(flat / np.float32(255), np.float32)


def _compress(square: Float32Array, *, quality: int) -> Float32Array:
    file = BytesIO()
    Image.fromarray((square * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(np.asarray(Image.open(file)) / np.float32(255), np.float32)


def collimate(square: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return the square with a straight-edged shutter over part of its border, as collimators and plates leave."""
    size = square.shape[0]
    left, right, top, bottom = (rng.uniform(0, size / 5) if rng.random() < 0.5 else 0.0 for _ in range(4))
    corners = np.array([[left, top], [size - right, top], [size - right, size - bottom], [left, size - bottom]])
    angle = np.deg2rad(rng.uniform(-8, 8) if rng.random() < 0.5 else 0.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    open_part = np.zeros(square.shape, np.uint8)
    cv2.fillPoly(open_part, [np.rint((corners - size / 2) @ turn.T + size / 2).astype(np.int32)], 1)
    value = rng.choice([0.0, 0.0, rng.uniform(0, 0.3), 1.0])
    return np.where(open_part > 0, square, np.float32(value)).astype(np.float32)


def mark(square: Float32Array, rng: np.random.Generator) -> Float32Array:
    """Return the square with printed marks: letters, arrows, circles, boxes or rulers, bright or dark."""
    marked = np.rint(square * 255).astype(np.uint8)
    size = square.shape[0]
    for _ in range(rng.integers(1, 4)):
        shade = int(rng.choice(np.array([255, 255, 0, rng.integers(128, 256)])))
        x, y = (int(value) for value in rng.integers(0, size, 2))
        dx, dy = (int(value) for value in rng.integers(-size // 6, size // 6, 2))
        thickness = int(rng.integers(1, 4))
        kind = rng.integers(0, 5)
        if kind <= 1:
            text = "".join(rng.choice(list("LRPADXW0123456789"), rng.integers(1, 5)))
            font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN]))
            cv2.putText(marked, text, (x, y), font, rng.uniform(0.4, 1.6), shade, thickness, cv2.LINE_AA)
        elif kind == 2:
            cv2.arrowedLine(marked, (x, y), (x + dx, y + dy), shade, thickness, cv2.LINE_AA, tipLength=0.3)
        elif kind == 3:
            cv2.ellipse(marked, (x, y), (abs(dx) // 2 + 3, abs(dy) // 2 + 3), 0, 0, 360, shade, thickness, cv2.LINE_AA)
        else:
            filled = -1 if rng.random() < 0.4 else thickness
            cv2.rectangle(marked, (x, y), (x + dx // 2, y + dy // 2), shade, filled)
    return np.asarray(marked / np.float32(255), np.float32)


def draw_cells(polygons: Polygons, affine: Float32Array, *, size: int, cells: int) -> Float32Array:
    """Return how much of each cell (cells, cells) the outlined fractures cover, a quarter counting as all of it."""
    mask = np.zeros((size, size), np.float32)
    for polygon in polygons:
        moved = np.asarray(polygon, np.float32) @ affine[:, :2].T + affine[:, 2]
        cv2.fillPoly(mask, [np.round(moved).astype(np.int32)], 1.0)
    coverage = cv2.resize(mask, (cells, cells), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(4 * coverage, 0, 1), np.float32)


def seen_share(polygons: Polygons, affine: Float32Array, *, size: int) -> float:
    """Return the share of the outlines' points that lie inside the square; 1 when nothing is outlined."""
    points = np.array([point for polygon in polygons for point in polygon], np.float32)
    if not points.size:
        return 1.0
    moved = points @ affine[:, :2].T + affine[:, 2]
    return float(((moved >= 0) & (moved < size)).all(axis=1).mean())
