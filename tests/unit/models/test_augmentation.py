"""Pixels and outlines move together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.preprocessing import Letterbox, Preprocessing, prepare
from inference.types import Radiograph
from models.augmentation import Strength, draw_affine, draw_cells, place, vary_exposure
from models.datasets import Sample, read_unit_pixels
from models.variations import render_variations

PREPROCESSING = Preprocessing(image_size=128, scale=2.0, offset=-1.0)


@pytest.mark.parametrize("seed", range(8))
def test_a_bright_fracture_stays_under_its_outline(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.zeros((300, 220), np.float32)
    pixels[100:160, 80:140] = 1
    corners = (((80.0, 100.0), (140.0, 100.0), (140.0, 160.0), (80.0, 160.0)),)
    box = Letterbox.fit(rows=300, columns=220, pixel_aspect=1.0, size=128)
    affine = draw_affine(box, rng, Strength())
    square = place(pixels, affine, size=128, padding=0.0)
    cells = draw_cells(corners, affine, size=128, cells=16)
    heat = square.reshape(16, 8, 16, 8).mean(axis=(1, 3))
    assert np.corrcoef(np.clip(4 * heat, 0, 1).ravel(), cells.ravel())[0, 1] > 0.9


def test_exposure_stays_within_range_and_a_seed_reproduces_it() -> None:
    square = np.random.default_rng(0).random((64, 64), np.float32)
    once, again = (vary_exposure(square, np.random.default_rng(5), Strength()) for _ in range(2))
    assert np.array_equal(once, again)
    assert 0 <= once.min() <= once.max() <= 1


def test_training_prepares_the_plain_radiograph_exactly_as_serving_does(tmp_path: Path) -> None:
    path = tmp_path / "IMG0000001.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (310, 230), np.uint8)).save(path)
    sample = Sample(path=path, number=1, region="HAND", fractured=False, group="1")
    trained, _ = render_variations(sample, PREPROCESSING, copies=3, cells=4, rng=np.random.default_rng(0))
    served, _ = prepare(Radiograph(pixels=read_unit_pixels(path)), PREPROCESSING)
    assert np.array_equal(trained[:1], served)
    assert not np.array_equal(trained[1], trained[2])
