"""What pictures are drawn on and with."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.types import Float32Array

Rng = np.random.Generator
Size = tuple[int, int]
"""Rows and columns."""
Field = NDArray[Any]
"""A picture under way: any real type, shape (rows, columns)."""


def grid(size: Size) -> tuple[Float32Array, Float32Array]:
    """Return x and y, from -1 to 1 over the picture."""
    y, x = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]), indexing="ij")
    return x.astype(np.float32), y.astype(np.float32)


def fractal(rng: Rng, size: Size, *, slope: float) -> Float32Array:
    """Return noise of zero mean and unit variance whose amplitude falls as frequency to the power of -slope."""
    frequency = np.hypot(np.fft.fftfreq(size[0])[:, np.newaxis], np.fft.rfftfreq(size[1]))
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(np.fft.rfft2(rng.normal(size=size)) * frequency**-slope, size)
    return np.asarray(field / field.std(), np.float32)


def stretch(field: Field, rng: Rng) -> Float32Array:
    """Return the field between black and white, at a contrast of a tenth to more than full."""
    low, high = np.percentile(field, [1, 99])
    unit = (field - low) / max(high - low, 1e-6) - 0.5
    return clip(rng.uniform(0.2, 0.8) + unit * np.exp(rng.uniform(np.log(0.1), np.log(1.5))))


def clip(field: Field) -> Float32Array:
    """Return the field between 0 and 1."""
    return np.asarray(np.clip(field, 0, 1), np.float32)


def print_word(picture: Field, word: str, place: tuple[int, int], *, scale: float, ink: float) -> None:
    """Write a word into the picture, its lower left corner at (x, y)."""
    mask = np.zeros(picture.shape, np.uint8)
    cv2.putText(mask, word, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1 + int(scale > 0.8))
    cover = mask / np.float32(255)
    picture *= 1 - cover
    picture += ink * cover


class Canvas:
    """A picture under the way, on coordinates that a random movement shifts, turns and scales."""

    def __init__(self, rng: Rng, size: Size, *, zoom: tuple[float, float] = (0.7, 1.4)) -> None:
        self.rng, self.size = rng, size
        longest = max(size)
        y, x = np.meshgrid(
            np.linspace(-1, 1, size[0]) * size[0] / longest,
            np.linspace(-1, 1, size[1]) * size[1] / longest,
            indexing="ij",
        )
        angle = rng.normal(0, 0.12)
        factor = np.exp(rng.uniform(*np.log(zoom)))
        mirror = rng.choice([-1, 1])
        x, y = mirror * (x + rng.normal(0, 0.1)) / factor, (y + rng.normal(0, 0.1)) / factor
        self.x = x * np.cos(angle) + y * np.sin(angle)
        self.y = y * np.cos(angle) - x * np.sin(angle)
        self.light: Field = np.zeros(size)

    def ellipse(
        self, value: float, x: float, y: float, rx: float, ry: float, *, turn: float = 0.0, soft: float = 0.1
    ) -> None:
        """Add a value inside an ellipse with a soft border."""
        self.light += value * self.inside(x, y, rx, ry, turn=turn, soft=soft)

    def inside(self, x: float, y: float, rx: float, ry: float, *, turn: float = 0.0, soft: float = 0.1) -> Float32Array:
        """Return 1 inside an ellipse, 0 outside, a smooth step between."""
        across, down = self.x - x, self.y - y
        along = (across * np.cos(turn) + down * np.sin(turn)) / rx
        aside = (down * np.cos(turn) - across * np.sin(turn)) / ry
        return np.asarray(1 / (1 + np.exp(np.clip((np.hypot(along, aside) - 1) / soft * 4, -30, 30))), np.float32)

    def band(self, value: float, distance: Field, width: float, where: Field | float = 1.0) -> None:
        """Add a soft band along the zeros of a distance."""
        self.light += value * np.exp(-((distance / width) ** 2)) * where

    def finish(self) -> Float32Array:
        """Return the picture with tissue's unevenness, at another exposure, collimated or marked at times."""
        rng = self.rng
        grain = cv2.resize(rng.normal(size=(12, 12)), self.size[::-1], interpolation=cv2.INTER_CUBIC)
        fine = cv2.GaussianBlur(rng.normal(size=self.size), (0, 0), rng.uniform(0.7, 3))
        picture = self.light + 0.03 * grain + rng.uniform(0.005, 0.04) * fine / fine.std()
        low, high = np.percentile(picture, [rng.uniform(0, 4), rng.uniform(95, 100)])
        picture = np.clip((picture - low) / max(high - low, 1e-6), 0, 1) ** np.exp(rng.uniform(-0.6, 0.6))
        if rng.random() < 0.3:
            top, left = (int(side * rng.uniform(0, 0.12)) for side in self.size)
            frame = np.full(self.size, rng.choice([0.0, 1.0]))
            frame[top : self.size[0] - top, left : self.size[1] - left] = 1
            picture = np.minimum(picture, frame) if rng.random() < 0.5 else picture * frame
        if rng.random() < 0.5:
            place = (int(self.size[1] * rng.uniform(0, 0.9)), int(self.size[0] * rng.uniform(0.08, 0.97)))
            word = str(rng.choice(["R", "L", "AP", "PA", "12 kV", "ERECT"]))
            print_word(picture, word, place, scale=rng.uniform(0.4, 1.2), ink=1.0)
        return clip(picture)
