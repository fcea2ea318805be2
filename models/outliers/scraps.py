"""Cut what shows no limb out of radiographs: trunks and heads of children, tiny pieces, pieces put together wrongly."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from types import MappingProxyType

import cv2
import numpy as np

from inference.types import Float32Array
from models.datasets import Sample, read_unit_pixels

Rng = np.random.Generator

FRACATLAS_TRUNKS = """\
number,part,left,top,right,bottom
58,head,0,0,40,20
147,chest,5,8,52,48
147,abdomen,3,42,50,70
148,chest,0,12,45,46
148,abdomen,0,40,48,70
188,abdomen,68,25,100,68
529,chest,0,23,58,55
529,head,0,0,43,24
532,chest,35,8,93,50
532,abdomen,35,38,90,72
535,chest,15,8,72,50
535,abdomen,15,38,72,72
536,chest,12,7,60,46
536,abdomen,13,38,62,78
1396,chest,23,16,78,50
1396,abdomen,23,43,76,78
1396,head,33,0,77,20
1559,chest,38,13,93,50
1559,abdomen,38,40,93,78
1719,chest,40,25,98,55
1719,abdomen,42,50,98,88
1719,head,43,0,90,30
1720,chest,33,25,88,53
1720,abdomen,34,48,90,88
1720,head,33,0,78,27
1729,chest,40,10,92,45
1729,abdomen,40,38,92,70
1730,chest,42,5,100,45
1730,abdomen,40,40,100,72
1731,chest,50,8,100,43
1731,abdomen,50,38,100,70
2318,abdomen,0,0,32,48
2546,chest,42,18,100,52
2546,abdomen,50,45,100,82
2546,head,25,0,75,18
3035,chest,33,2,99,43
3035,abdomen,32,40,99,88
3149,chest,20,5,55,50
3149,abdomen,45,5,95,48
3436,chest,28,31,72,57
3436,abdomen,28,50,72,82
3436,head,30,0,70,30
3556,chest,0,25,53,55
3556,abdomen,0,48,52,85
3556,head,0,0,40,25
"""
"""Where radiographs of FracAtlas show a trunk or head: boxes in hundredths of width and height, read by eye."""

Box = tuple[float, float, float, float]


def read_trunks(table: str = FRACATLAS_TRUNKS) -> Mapping[int, Mapping[str, Box]]:
    """Return number of a radiograph -> part -> box (left, top, right, bottom), fractions of width and height."""
    found: dict[int, dict[str, Box]] = {}
    for row in csv.DictReader(StringIO(table)):
        left, top, right, bottom = (int(row[name]) / 100 for name in ("left", "top", "right", "bottom"))
        found.setdefault(int(row["number"]), {})[row["part"]] = (left, top, right, bottom)
    return MappingProxyType(found)


def cut_trunks(
    samples: Sequence[Sample], *, each: int, seed: int, trunks: Mapping[int, Mapping[str, Box]] | None = None
) -> Iterator[tuple[int, str, Float32Array]]:
    """Yield `each` cuts of every trunk that the samples show: row of the sample, part, pixels.

    The table names FracAtlas' own numbers: where a number is only a place in the order of files, none is known.
    """
    known = read_trunks() if trunks is None else trunks
    for row, sample in enumerate(samples):
        for part, box in known.get(sample.number, {}).items() if is_fracatlas(sample) else ():
            rng = np.random.default_rng((seed, sample.number, len(part)))
            pixels = read_unit_pixels(sample.path)
            for _ in range(each):
                yield row, part, _vary(_cut(pixels, box, rng), rng)


def is_fracatlas(sample: Sample) -> bool:
    """Tell by its published name, `IMG0000147.jpg`, whether the number is FracAtlas' own."""
    return sample.numbered and sample.path.stem == f"IMG{sample.number:07}"


def cut_scraps(samples: Sequence[Sample], *, each: int, seed: int) -> Iterator[tuple[int, str, Float32Array]]:
    """Yield `each` fragments and `each` shuffled radiographs, every one of another sample: row, family, pixels."""
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(samples), 2 * each, replace=2 * each > len(samples))
    for number, row in enumerate(rows):
        pixels = read_unit_pixels(samples[row].path)
        if number % 2:
            yield int(row), "shuffled", _vary(_shuffle(pixels, rng), rng)
        else:
            yield int(row), "fragment", _vary(_take_fragment(pixels, rng), rng)


def _cut(pixels: Float32Array, box: Box, rng: Rng) -> Float32Array:
    """Cut the box, its borders moved by up to a twentieth of the picture."""
    rows, columns = pixels.shape
    left, top, right, bottom = np.clip(np.array(box) + rng.uniform(-0.05, 0.05, 4), 0, 1)
    cut = pixels[int(top * rows) : int(bottom * rows), int(left * columns) : int(right * columns)]
    size = (int(320 * cut.shape[1] / max(cut.shape)), int(320 * cut.shape[0] / max(cut.shape)))
    return np.asarray(cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC), np.float32)


def _vary(pixels: Float32Array, rng: Rng) -> Float32Array:
    """Return the picture mirrored at times, stretched to its own contrast at times, at another gamma."""
    if rng.random() < 0.5:
        pixels = pixels[:, ::-1]
    if rng.random() < 0.7:
        low, high = np.percentile(pixels, [rng.uniform(0, 3), rng.uniform(96, 100)])
        pixels = (pixels - low) / max(high - low, 1e-3)
    return np.ascontiguousarray(np.clip(pixels, 0, 1) ** np.exp(rng.uniform(-0.5, 0.5)), np.float32)


def _take_fragment(pixels: Float32Array, rng: Rng) -> Float32Array:
    """Take a piece too small to show a bone, a tenth of each side or less, enlarged."""
    rows, columns = pixels.shape
    side = max(12, int(min(rows, columns) * rng.uniform(0.03, 0.1)))
    top, left = int(rng.integers(rows - side)), int(rng.integers(columns - side))
    piece = pixels[top : top + side, left : left + side]
    return np.asarray(np.clip(cv2.resize(piece, (256, 256), interpolation=cv2.INTER_CUBIC), 0, 1), np.float32)


def _shuffle(pixels: Float32Array, rng: Rng) -> Float32Array:
    """Return the tiles of a radiograph in random order and orientation."""
    count = int(rng.integers(3, 12))
    side = max(8, 320 // count)
    square = cv2.resize(pixels, (side * count, side * count), interpolation=cv2.INTER_AREA)
    tiles = square.reshape(count, side, count, side).swapaxes(1, 2).reshape(-1, side, side)
    turned = np.stack([np.rot90(tiles[at], int(rng.integers(4))) for at in rng.permutation(len(tiles))])
    return turned.reshape(count, count, side, side).swapaxes(1, 2).reshape(side * count, side * count)
