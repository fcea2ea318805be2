"""Drawn long bones, each with a fracture of a type: a data set of a folder for each type, made in a second."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

TYPES = ("comminuted", "oblique", "spiral", "transverse")
SIDE = 96


def draw_fracture(kind, rng):
    """Draw a shaft in soft tissue, its fracture near the middle: shape (SIDE, SIDE), 0 to 255, no two alike."""
    image = Image.new("L", (2 * SIDE, 2 * SIDE), 30)
    pen = ImageDraw.Draw(image)
    wide = rng.uniform(12, 18)
    for half, grey in ((2.2 * wide, 75), (wide, 215), (wide / 2, 165)):
        pen.rectangle((SIDE - half, 0, SIDE + half, 2 * SIDE), fill=grey)
    for line in _draw_lines(kind, wide, rng):
        pen.line([(SIDE + across, SIDE + along) for across, along in line], fill=35, width=3, joint="curve")
    turned = image.rotate(rng.uniform(-30, 30), Image.Resampling.BILINEAR, translate=tuple(rng.integers(-8, 9, 2)))
    shaft = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.6)), float)[
        SIDE // 2 : -SIDE // 2, SIDE // 2 : -SIDE // 2
    ]
    return np.clip(shaft + _draw_tissue(rng), 0, 255).astype(np.uint8)


def _draw_lines(kind, wide, rng):
    """Return the fracture's lines, each of points (across, along) the shaft, from its middle."""
    across = np.linspace(-wide - 2, wide + 2, 25)
    slant = rng.uniform(0.9, 1.3) * rng.choice([-1, 1])
    pieces = rng.normal((1, -1, 0.2, -0.3), 0.15), rng.normal((-9, 8, 14, -14), 1.5)
    lines = {
        "transverse": [across * rng.uniform(-0.1, 0.1)],
        "oblique": [across * slant],
        "spiral": [across * slant + 9 * np.sin(across / wide * np.pi)],
        "comminuted": [across * slope + shift for slope, shift in zip(*pieces, strict=True)],
    }
    return [list(zip(across, line, strict=True)) for line in lines[kind]]


def _draw_tissue(rng):
    """Return clouds and grain, by which two drawings of a type are told apart."""
    clouds = Image.fromarray(rng.normal(0, 1, (9, 9)).astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return 16 * np.asarray(clouds) + rng.normal(0, 3, (SIDE, SIDE))


def write_drawn_fractures(folder: Path, *, each: int, seed: int = 0) -> Path:
    """Write a folder of `each` PNG files for every type."""
    rng = np.random.default_rng(seed)
    for kind in TYPES:
        (folder / kind).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(draw_fracture(kind, rng)).save(folder / kind / f"{kind}{number:03}.png")
    return folder
