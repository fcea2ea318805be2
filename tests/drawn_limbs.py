"""Drawn limbs that are as different as patients are: the same number draws the same radiograph."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def draw_limb(number, *, rows=180, columns=150):
    """Draw two bones in cloudy soft tissue: shape (rows, columns), uint8, bone bright."""
    rng = np.random.default_rng(number)
    image = Image.new("L", (columns, rows), 15)
    pen = ImageDraw.Draw(image)
    across, lean = rng.uniform(0.35, 0.6) * columns, rng.uniform(-0.2, 0.2) * columns
    for shift, wide, grey in ((0, 0.5, 60), (-0.1, 0.12, 190), (0.13, 0.07, 160)):
        middle = across + shift * columns
        pen.line([(middle - lean, 0), (middle + lean, rows)], fill=grey, width=int(wide * columns))
    clouds = Image.fromarray(rng.normal(0, 1, (9, 9)).astype(np.float32)).resize((columns, rows), Image.BICUBIC)
    limb = np.asarray(image.filter(ImageFilter.GaussianBlur(2)), float)
    return np.clip(limb + (0.02 * limb + 4) * 4 * np.asarray(clouds), 0, 255).astype(np.uint8)


def write_limb(path: Path, number, **options):
    """Write the limb to a file of any of Pillow's formats, its folder too; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw_limb(number, **options)).save(path)
    return path
