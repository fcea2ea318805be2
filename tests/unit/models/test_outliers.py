"""Pictures that show no limb, drawn and cut."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.preprocessing import Preprocessing
from models.datasets import Sample
from models.outliers import FAMILIES, draw_outliers
from models.outliers.scraps import cut_scraps, cut_trunks, read_trunks
from models.scope_fit import KINDS, Outsiders, View, embed, fit_gate, gather_outsiders, measure_gate


def build_sample(folder: Path, number: int) -> Sample:
    """Write a picture whose left half is dark and whose right half is bright, with a little noise."""
    pixels = np.full((120, 100), 40.0) + np.random.default_rng(number).normal(0, 2, (120, 100))
    pixels[:, 50:] += 160
    path = folder / f"IMG{number:07}.jpg"
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return Sample(path=path, number=number, region="OTHER", fractured=False, group=path.name)


def assert_is_a_picture(pixels: np.ndarray) -> None:
    assert pixels.dtype == np.float32
    assert pixels.ndim == 2
    assert min(pixels.shape) >= 64
    assert np.isfinite(pixels).all()
    assert 0 <= pixels.min() <= pixels.max() <= 1


def test_every_family_draws_pictures_that_differ_and_that_the_seed_reproduces() -> None:
    drawn, again = list(draw_outliers(2, seed=4)), list(draw_outliers(2, seed=4))
    assert [family for family, _ in drawn] == [family for family in FAMILIES for _ in range(2)]
    for (_, pixels), (_, repeated) in zip(drawn, again, strict=True):
        assert_is_a_picture(pixels)
        assert np.array_equal(pixels, repeated)
    for (_, one), (_, other) in zip(drawn[::2], drawn[1::2], strict=True):
        assert one.shape != other.shape or not np.array_equal(one, other)


def test_many_seeds_draw_without_a_fault() -> None:
    for seed in range(2):
        for _, pixels in draw_outliers(1, seed=seed):
            assert_is_a_picture(pixels)


def test_a_trunk_is_cut_where_the_table_says(tmp_path: Path) -> None:
    samples = [build_sample(tmp_path, 3), build_sample(tmp_path, 4)]
    trunks = {4: {"chest": (0.6, 0.1, 0.95, 0.9)}}
    cuts = list(cut_trunks(samples, each=3, seed=1, trunks=trunks))
    assert [(row, part) for row, part, _ in cuts] == [(1, "chest")] * 3
    for _, _, pixels in cuts:
        assert_is_a_picture(pixels)
        assert pixels.shape[0] > pixels.shape[1]


def test_the_table_of_trunks_holds_boxes_within_the_picture() -> None:
    boxes = [box for parts in read_trunks().values() for box in parts.values()]
    assert len(boxes) == 45
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1


def test_scraps_are_fragments_and_shuffled_tiles(tmp_path: Path) -> None:
    samples = [build_sample(tmp_path, number) for number in range(4)]
    scraps = list(cut_scraps(samples, each=2, seed=1))
    assert sorted(family for _, family, _ in scraps) == ["fragment", "fragment", "shuffled", "shuffled"]
    assert sorted(row for row, _, _ in scraps) == [0, 1, 2, 3]
    for _, _, pixels in scraps:
        assert_is_a_picture(pixels)


def test_an_outsider_cut_from_a_radiograph_belongs_to_its_fold(tmp_path: Path) -> None:
    samples = [build_sample(tmp_path, number) for number in (147, 532, 9, 10)]
    outsiders = gather_outsiders(samples, np.array([0, 1, 0, 1]), seed=1, each=2)
    chests = outsiders.family == "cut chest"
    assert outsiders.fold[chests].tolist() == [0] * 8 + [1] * 8
    assert set(outsiders.family) <= {family for families in KINDS.values() for family in families}
    assert len(outsiders.pictures) == len(outsiders.family) == len(outsiders.fold)


SHOWN = ("chest", "skull", "section", "noise")
"""A family of each kind."""


@pytest.fixture(scope="module")
def outsiders() -> Outsiders:
    family = np.repeat(SHOWN, 200)
    blank = np.zeros((64, 64), np.uint8)
    return Outsiders(pictures=(blank,) * len(family), family=family, fold=np.arange(len(family)) % 2)


@pytest.fixture(scope="module")
def views(outsiders: Outsiders) -> list[View]:
    """Return two folds whose embeddings set each family apart along a channel of its own."""
    rng = np.random.default_rng(2)

    def draw(count: int) -> np.ndarray:
        return rng.normal(size=(count, 100)).astype(np.float32)

    def draw_outside() -> np.ndarray:
        apart = 7 * (outsiders.family[:, np.newaxis] == [*SHOWN, *([""] * 96)])
        return draw(len(outsiders.family)) + apart.astype(np.float32)

    return [View(fold=at, seen=draw(800), unseen=draw(800), outside=draw_outside()) for at in range(2)]


def test_the_gate_refuses_as_many_unseen_limbs_as_allowed_and_counts_outsiders_by_family(views, outsiders) -> None:
    gate = measure_gate(views, outsiders)
    assert gate.figures["limbs_refused"] == pytest.approx(0.015, abs=0.01)
    refused = np.concatenate([gate.scopes[view.fold].distances(view.unseen) for view in views]) > 1
    assert refused.mean() == pytest.approx(gate.figures["limbs_refused"])
    assert set(gate.figures["outsiders_refused"]) == set(SHOWN)
    assert min(gate.figures["outsiders_refused"].values()) > 0.8


def test_no_limb_sets_the_limits_it_is_judged_by(views, outsiders) -> None:
    strange = replace(views[0], unseen=views[0].unseen * 3)
    figures = measure_gate([strange, views[1]], outsiders).figures
    assert figures["limbs_refused"] == pytest.approx(0.5, abs=0.05), "their own limits would let most of them pass"
    assert figures["outsiders_shown"] == dict.fromkeys(SHOWN, 200)


def test_a_kind_that_was_never_shown_is_refused_less_often(views, outsiders) -> None:
    figures = measure_gate(views, outsiders).figures
    for family in SHOWN:
        assert figures["outsiders_refused_unforeseen"][family] < figures["outsiders_refused"][family]


def test_no_gate_learns_from_the_outsiders_it_is_judged_by(views, outsiders) -> None:
    refused = measure_gate(views, outsiders).figures["outsiders_refused"]
    noise = np.random.default_rng(4).normal(size=views[0].outside.shape).astype(np.float32)
    aimless = measure_gate([replace(view, outside=noise) for view in views], outsiders)
    assert max(aimless.figures["outsiders_refused"].values()) < 0.1 < min(refused.values())


def test_the_final_gate_carries_the_limits_measured_out_of_fold(views, outsiders) -> None:
    gate = measure_gate(views, outsiders)
    scope = fit_gate(views[0].seen, views[0].outside, outsiders.family, limits=gate.limits)
    assert scope.limits == gate.limits
    assert set(scope.kinds) == set(KINDS)
    assert (scope.distances(views[0].outside) > 1).mean() > 0.8


def test_pictures_are_embedded_in_batches_as_serving_prepares_them() -> None:
    pictures = [np.full((80, 64), value, np.uint8) for value in range(40)]
    preprocessing = Preprocessing(image_size=64, scale=2.0, offset=-1.0)
    sizes = []

    def answer(batch: np.ndarray) -> dict[str, np.ndarray]:
        sizes.append(len(batch))
        return {"embedding": batch.max(axis=(1, 2))}

    embeddings = embed(answer, pictures, preprocessing)
    assert embeddings[:, 0] == pytest.approx(np.arange(40) / 255 * 2 - 1, abs=1e-6)
    assert sum(sizes) == 40
    assert max(sizes) <= 32


def test_only_fracatlas_own_numbers_name_a_trunk(tmp_path: Path) -> None:
    published = build_sample(tmp_path, 147)
    assert {part for _, part, _ in cut_trunks([published], each=1, seed=1)} == {"chest", "abdomen"}
    # In other layouts the number is a place in the order of files.
    running = replace(published, numbered=False)
    renamed = replace(published, path=published.path.rename(tmp_path / "image1.jpg"))
    assert not list(cut_trunks([running, renamed], each=1, seed=1))
