"""Pixels and outlines move together."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import pytest
from PIL import Image

from inference.preprocessing import Exposed, Letterbox, Preprocessing, find_exposed, prepare
from inference.types import Radiograph
from models.augmentation import (
    Strength,
    add_grid,
    add_noise,
    collimate,
    draw_affine,
    draw_cells,
    mark,
    place,
    vary_exposure,
)
from models.datasets import Sample, read_unit_pixels
from models.features import FeatureCache
from models.fracture_checks import recall_sight
from models.protocol import Answers
from models.recipe import Recipe
from models.variations import list_places, render_plain, render_shifted, render_variation, schedule

PREPROCESSING = Preprocessing(image_size=128, scale=2.0, offset=-1.0)


@pytest.mark.parametrize("seed", range(8))
def test_a_bright_fracture_stays_under_its_outline(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = np.zeros((300, 220), np.float32)
    pixels[100:160, 80:140] = 1
    corners = (((80.0, 100.0), (140.0, 100.0), (140.0, 160.0), (80.0, 160.0)),)
    box = Letterbox.fit(Exposed(0, 300, 0, 220), pixel_aspect=1.0, size=128)
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
    trained = PREPROCESSING.normalise(render_plain(sample, PREPROCESSING))
    served, _ = prepare(Radiograph(pixels=read_unit_pixels(path)), PREPROCESSING)
    assert np.array_equal(trained, served)


class Bordered(NamedTuple):
    """A plate with a fracture, alone and with 60 white rows above it and 260 white columns on its left."""

    alone: Sample
    bordered: Sample


@pytest.fixture
def plates(tmp_path: Path) -> Bordered:
    pixels = np.random.default_rng(4).integers(20, 60, (300, 220), np.uint8)
    pixels[20:50, 150:180] = 255
    corners = ((150.0, 20.0), (180.0, 20.0), (180.0, 50.0), (150.0, 50.0))
    samples = []
    for name, left, top in (("alone", 0, 0), ("bordered", 260, 60)):
        path = tmp_path / f"{name}.png"
        Image.fromarray(np.pad(pixels, ((top, 0), (left, 0)), constant_values=255)).save(path)
        outline = tuple((x + left, y + top) for x, y in corners)
        samples.append(Sample(path=path, number=1, region="HAND", fractured=True, group="1", polygons=(outline,)))
    return Bordered(*samples)


def test_a_border_changes_nothing_of_what_a_model_learns_from(plates: Bordered) -> None:
    alone, bordered = (render_plain(sample, PREPROCESSING) for sample in plates)
    assert np.array_equal(alone, bordered)
    strength = Strength(close_ups=1.0, close_up=(2.0, 2.4), marks=0.0, noise=0.0, inverted=0.0)
    for seed in range(20):
        # Not the squares: a variation may show some of the border, where it shows padding beside the plate alone.
        first, second = (
            render_variation(
                sample, PREPROCESSING, cells=16, rng=np.random.default_rng(seed), strength=strength, insist=True
            )
            for sample in plates
        )
        assert np.allclose(first.cover, second.cover, atol=0.05)
        assert first[2:] == second[2:]


def test_a_border_is_no_part_of_the_region_that_is_to_be_seen(plates: Bordered) -> None:
    strength = Strength(close_ups=0.0, zoom=(1.0, 1.0), rotation_deg=0.0, quarter_turns=0.0, stretch=0.0, shift=0.0)
    for sample in plates:
        rng = np.random.default_rng(0)
        assert render_variation(sample, PREPROCESSING, cells=16, rng=rng, strength=strength).shows_region


def test_a_peak_out_of_fold_lies_where_it_lies_when_serving(plates: Bordered) -> None:
    cams = np.zeros((1, 2, 16, 16, 1), np.float32)
    cams[0, :, 2, 11] = 1
    logits, parts = np.zeros((1, 3, 1), np.float32), np.zeros((1, 1, 4), np.int64)
    answers = Answers(logits=logits, cams=cams, first_cams=cams, parts=parts)
    radiographs = [Radiograph(pixels=read_unit_pixels(sample.path)) for sample in plates]
    sights = [recall_sight(answers, 0, 0, radiograph, size=128) for radiograph in radiographs]
    alone, bordered = (
        sight.spread(rows=one.rows, columns=one.columns).peak for sight, one in zip(sights, radiographs, strict=True)
    )
    assert alone is not None
    assert bordered == (alone[0] + 260, alone[1] + 60)


def test_what_a_model_is_tested_on_has_no_border_left(plates: Bordered) -> None:
    for seed in range(40):
        square = render_shifted(plates.alone, PREPROCESSING, rng=np.random.default_rng(seed), places={})
        exposed = find_exposed(square)
        assert max(exposed.rows, exposed.columns) > 118, "it fills the square, but for the padding of its shape"


def test_marks_and_shutters_change_only_what_they_cover_and_stay_within_range() -> None:
    square = np.full((128, 128), 0.4, np.float32)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for changed in (mark(square, rng), collimate(square, rng)):
            assert 0 <= changed.min() <= changed.max() <= 1
            assert np.isclose(changed, square, atol=1 / 255).mean() > 0.3


def test_a_grid_has_lines_of_one_direction_and_leaves_the_mean() -> None:
    square = np.full((128, 128), 0.5, np.float32)
    for seed in range(10):
        lined = add_grid(square, np.random.default_rng(seed)) - square
        spectrum = np.abs(np.fft.rfft2(lined))
        spectrum[0, 0] = 0
        row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
        row = min(row, 128 - row)
        assert max(row, column) > 8, "finer than what a limb is made of"
        assert min(row, column) < 0.4 * max(row, column), "along the plate's sides"
        assert abs(lined.mean()) < 0.01


def test_noise_of_few_quanta_is_stronger_where_it_is_bright() -> None:
    square = np.repeat(np.float32([[0.1], [0.6]]), 64, axis=0).repeat(128, axis=1)
    spread = np.array(
        [
            [part.std() for part in np.split(add_noise(square, np.random.default_rng(seed)) - square, 2)]
            for seed in range(60)
        ]
    )
    ratio = spread[:, 1] / spread[:, 0]
    stronger = ratio > 2
    assert 0.3 < stronger.mean() < 0.7, "the others are even"
    assert np.allclose(ratio[~stronger], 1, atol=0.25)


@pytest.fixture
def fractured(tmp_path: Path) -> Sample:
    """Write a plate whose fracture, a bright square, lies near a corner."""
    pixels = np.full((300, 220), 40, np.uint8)
    pixels[20:50, 150:180] = 255
    path = tmp_path / "IMG0000002.png"
    Image.fromarray(pixels).save(path)
    corners = ((150.0, 20.0), (180.0, 20.0), (180.0, 50.0), (150.0, 50.0))
    return Sample(path=path, number=2, region="HAND", fractured=True, group="2", polygons=(corners,))


def test_a_variation_says_whether_its_fractures_are_in_view(fractured: Sample) -> None:
    said = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        strength = Strength(close_ups=1.0, close_up=(2.2, 3.0), marks=0.0, inverted=0.0)
        variation = render_variation(fractured, PREPROCESSING, cells=16, rng=rng, strength=strength)
        if not variation.shows_fractures:
            assert variation.cover.sum() < 16 * 16 / 4
        said.add(variation.shows_fractures)
    assert True in said


def test_a_close_up_of_a_fracture_that_nobody_outlined_may_not_show_it(fractured: Sample) -> None:
    strength = Strength(close_ups=1.0, close_up=(2.0, 2.4), marks=0.0, inverted=0.0)
    told = replace(fractured, polygons=())
    for sample, shown in ((told, False), (replace(told, fractured=False), True)):
        rng = np.random.default_rng(0)
        variation = render_variation(sample, PREPROCESSING, cells=16, rng=rng, strength=strength)
        assert variation.shows_fractures is shown


def test_what_a_model_is_tested_on_always_shows_the_fractures(fractured: Sample) -> None:
    for seed in range(20):
        square = render_shifted(fractured, PREPROCESSING, rng=np.random.default_rng(seed), places={})
        assert square.std() > 0.05


def test_what_a_model_is_tested_on_is_collimated_alike_whether_broken_or_not(fractured: Sample) -> None:
    sound = replace(fractured, fractured=False, polygons=(), boxes=())
    places = list_places([fractured])
    for seed in range(20):
        square = render_shifted(sound, PREPROCESSING, rng=np.random.default_rng(seed), places=places)
        assert square.std() > 0.05, "the bright square is in view though nobody outlined it"
    elsewhere = replace(sound, region="KNEE")
    unseen = [
        render_shifted(elsewhere, PREPROCESSING, rng=np.random.default_rng(seed), places=places) for seed in range(20)
    ]
    assert min(square.std() for square in unseen) < 0.05, "where no fracture of the region is known, any place will do"


@pytest.mark.parametrize("localisation", [5.0, 0.0])
def test_what_is_taught_by_outlines_is_collimated_alike_whether_broken_or_not(
    fractured: Sample, tmp_path: Path, localisation: float
) -> None:
    """What has nothing to learn from outlines, such as a region, is shown plates as they lie."""
    sound = replace(fractured, fractured=False, polygons=(), boxes=())
    recipe = Recipe(
        architecture="custom_cnn",
        image_size=128,
        epochs=40,
        batch_size=8,
        learning_rate=1e-3,
        close_ups=1.0,
        localisation=localisation,
    )
    squares = keras.Input((128, 128, 1))
    cache = FeatureCache(tmp_path / "kept", keras.Model(squares, squares), PREPROCESSING, cells=16)
    features = cache.load([fractured, sound], recipe, lambda steps, _: iter(steps))
    shows_square = features.maps.astype(np.float32).std(axis=(1, 2, 3)) > 0.1
    broken, other = (shows_square[features.drawn.ravel() == row].mean() for row in range(2))
    assert broken > 0.9
    assert bool(other > 0.9) is (localisation > 0)


def test_what_was_kept_for_coarser_cells_is_not_taken_for_finer_ones(fractured: Sample, tmp_path: Path) -> None:
    """As a region's and a fracture's training of the same radiographs want them, from one store."""
    recipe = Recipe(architecture="custom_cnn", image_size=128, epochs=1, batch_size=8, learning_rate=1e-3)
    squares = keras.Input((128, 128, 1))
    for cells in (8, 16):
        cache = FeatureCache(tmp_path / "kept", keras.Model(squares, squares), PREPROCESSING, cells=cells)
        features = cache.load([fractured], recipe, lambda steps, _: iter(steps))
        assert features.cover.shape == (1, cells, cells)


def test_every_fracture_is_drawn_in_every_epoch_and_scarce_regions_more_often_than_they_occur() -> None:
    common = [sample_of(number, "KNEE", fractured=number < 10) for number in range(110)]
    scarce = [sample_of(number, "FEMUR", fractured=False) for number in range(110, 120)]
    recipe = Recipe(
        architecture="custom_cnn", image_size=64, epochs=40, batch_size=8, learning_rate=1e-3, negatives=2.0
    )
    drawn = schedule([*common, *scarce], recipe)
    assert drawn.shape == (40, 30)
    assert all(set(range(10)) <= set(epoch) for epoch in drawn.tolist())
    assert all(len(set(epoch)) == 30 for epoch in drawn.tolist())
    shares = [(drawn >= 110).sum() / 10, ((drawn >= 10) & (drawn < 110)).sum() / 100]
    assert shares[0] > 1.5 * shares[1]


def sample_of(number: int, region: str, *, fractured: bool) -> Sample:
    return Sample(path=Path(f"{number}.png"), number=number, region=region, fractured=fractured, group=str(number))
