"""A drawn pool in FracAtlas' layout, whose answers by the tiny bundles are known."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One radiograph: soft tissue, and a spot of 8 x 8 pixels whose brightness decides what the tiny model answers."""

    fractured: bool
    spot: float
    """1 is answered `fracture` (probability 0.99), 0.75 `uncertain` (0.5), 0.5 `no fracture` (0.01)."""
    at: tuple[int, int] = (28, 20)
    """Left and top of the spot, pixels."""
    box: tuple[int, int, int, int] | None = None
    """Where the radiologist drew one, (x, y, width, height)."""
    region: str = "HAND"
    black: bool = False
    """Black all over: outside scope."""


MIXED = (
    *(Drawn(fractured=True, spot=1.0, at=(12 + 4 * place, 20), box=(10, 18, 26, 12)) for place in range(4)),
    Drawn(fractured=True, spot=1.0, at=(40, 40), box=(0, 0, 10, 10)),
    Drawn(fractured=True, spot=0.75, box=(28, 20, 8, 8)),
    Drawn(fractured=True, spot=0.5),
    *(Drawn(fractured=False, spot=0.5, at=(4 * place, 24)) for place in range(6)),
    Drawn(fractured=False, spot=0.75),
    Drawn(fractured=False, spot=1.0, region="LEG"),
    Drawn(fractured=False, spot=0.0, black=True),
)
"""Seven fractures, six answered rightly or left open, five of six peaks in a box; nine without, one false alarm."""


def write_pool(folder: Path, drawn: Sequence[Drawn] = MIXED) -> Path:
    """Write the pool; no two radiographs share a block of numbers."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, outlines = [], {}
    for index, one in enumerate(drawn):
        name = f"IMG{index * 100:07}.png"
        pixels = 20 + 20 * np.kron(rng.random((8, 8)), np.ones((8, 8)))
        x, y = one.at
        pixels[y : y + 8, x : x + 8] = 255 * one.spot
        Image.fromarray(np.uint8(pixels * (not one.black))).save(folder / "images" / name)
        rows.append([name, int(one.fractured), one.region, "", 0])
        if one.box:
            outlines[name] = [{"box": one.box, "polygons": []}]
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "fractured", "region", "duplicate_group", "truncated"], *rows])
    (folder / "fractures.json").write_text(json.dumps(outlines))
    return folder
