"""Copies of one radiograph are found, radiographs of two patients are not."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drawn_limbs import draw_limb
from PIL import Image

from models.datasets.near_duplicates import find_near_duplicates
from models.datasets.reading import UInt8Array, read_thumbnail

LIMBS = 30


def thumbnail(folder: Path, image: Image.Image) -> UInt8Array:
    path = folder / "limb.png"
    image.save(path)
    return read_thumbnail(path)


def limb(number: int) -> Image.Image:
    return Image.fromarray(draw_limb(number))


def recompressed(image: Image.Image) -> Image.Image:
    stored = io.BytesIO()
    image.save(stored, "JPEG", quality=30)
    return Image.open(stored)


def marked(image: Image.Image) -> Image.Image:
    copied = image.copy()
    copied.paste(255, (8, 8, 30, 26))
    return copied


def ending_early(image: Image.Image) -> Image.Image:
    copied = image.copy()
    copied.paste(128, (0, int(0.8 * image.height), image.width, image.height))
    return copied


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda image: image,
    "compressed again": recompressed,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "made square": lambda image: image.resize((224, 224)),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "darker": lambda image: image.point([round(255 * (grey / 255) ** 1.6) for grey in range(256)]),
    "windowed": lambda image: image.point([min(255, max(0, 2 * grey - 40)) for grey in range(256)]),
    "with a printed mark": marked,
    "ending early": ending_early,
}


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_is_found_and_nothing_else(tmp_path: Path, how: str) -> None:
    limbs = [thumbnail(tmp_path, limb(number)) for number in range(LIMBS)]
    copy = thumbnail(tmp_path, COPIES[how](limb(7)))
    assert find_near_duplicates(np.stack([*limbs, copy])) == [(7, LIMBS)]


def test_limbs_that_look_alike_are_not_one(tmp_path: Path) -> None:
    limbs = np.stack([thumbnail(tmp_path, limb(number)) for number in range(100)])
    flat = limbs.reshape(100, -1) - limbs.reshape(100, -1).mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    # Correlation, as an obvious measure, would take some of these for copies.
    assert np.sort((flat @ flat.T)[np.triu_indices(100, 1)])[-1] > 0.95
    assert find_near_duplicates(limbs) == []


def test_empty_plates_are_not_copies_of_each_other() -> None:
    rng = np.random.default_rng(0)
    grey = np.full((3, 64, 64), 90, np.uint8)
    grainy = rng.integers(20, 22, (3, 64, 64), np.uint8)
    assert find_near_duplicates(np.concatenate([grey, grainy])) == []
    grey[:, 20:26, 30:38] = 255  # the same printed mark, and nothing else
    assert find_near_duplicates(grey) == []


def test_pairs_are_found_beyond_one_block_of_the_search(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (1100, 64, 64), np.uint8)
    twin = thumbnail(tmp_path, limb(1))
    noise[3] = noise[1090] = noise[1099] = twin
    assert find_near_duplicates(noise) == [(3, 1090), (3, 1099), (1090, 1099)]


def test_no_radiographs_have_no_copies() -> None:
    assert find_near_duplicates(np.zeros((0, 64, 64), np.uint8)) == []
