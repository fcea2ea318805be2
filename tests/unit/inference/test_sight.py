"""A closer look: around the hottest place of the first, its map in source pixels, the answer the mean of both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.bundle import MANIFEST, load_bundle
from inference.errors import BundleError
from inference.grad_cam import find_hottest, find_peak, spread_over_source
from inference.model import Model
from inference.preprocessing import Exposed, Letterbox
from inference.sight import Sight
from inference.testing import build_tiny_bundles
from inference.types import Float32Array, Radiograph

WHOLE = Exposed(0, 300, 0, 200)
BOX = Letterbox.fit(WHOLE, pixel_aspect=1.0, size=240)


def heat(row: int, column: int, amount: float = 1.0) -> Float32Array:
    cam = np.zeros((1, 12, 12), np.float32)
    cam[0, row, column] = amount
    return cam


def see(logit: float, cams: Float32Array, box: Letterbox = BOX) -> Sight:
    return Sight(logits=np.full(len(cams), logit, np.float32), cams=cams, box=box)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ((100, 150), Exposed(75, 225, 50, 150)),
        ((0, 0), Exposed(0, 150, 0, 100)),
        ((199, 299), Exposed(150, 300, 100, 200)),
        ((30, 290), Exposed(150, 300, 0, 100)),
    ],
)
def test_a_part_lies_around_its_place_and_within_the_whole(place: tuple[int, int], expected: Exposed) -> None:
    assert WHOLE.around(*place, 0.5) == expected


def test_a_part_of_what_borders_leave_has_none_of_them() -> None:
    assert Exposed(40, 240, 30, 130).around(0, 0, 0.5) == Exposed(40, 140, 30, 80)


@pytest.mark.parametrize("exposed", [WHOLE, Exposed(60, 300, 20, 190)])
@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_the_hottest_place_is_the_peak_of_the_heat_map(exposed: Exposed, aspect: float) -> None:
    box = Letterbox.fit(exposed, pixel_aspect=aspect, size=240)
    down, across = box.window
    cam = heat((down.start + down.stop) // 2 * 12 // 240, (across.start + across.stop) // 2 * 12 // 240)[0]
    found = find_hottest(cam, box)
    peak = find_peak(spread_over_source(cam, box, rows=300, columns=200))
    assert found is not None
    assert peak is not None
    assert found == pytest.approx((peak[0] + 0.5, peak[1] + 0.5), abs=4)


def test_heat_in_the_padding_is_no_place_to_look_at() -> None:
    cam = heat(6, 0, 9.0)[0] + heat(6, 6, 1.0)[0]
    x, _ = find_hottest(cam, BOX) or (-1, -1)
    assert x == pytest.approx(100, abs=15)


@pytest.mark.parametrize(("row", "column"), [(6, 6), (2, 5), (9, 7)])
def test_the_place_does_not_hang_on_the_last_digits(row: int, column: int) -> None:
    """In the middle of a cell four samples are alike; which is the highest, the runtime decides."""
    cam = np.zeros((12, 12), np.float32)
    cam[row, column] = 1
    cam[row - 1 : row + 2, column - 1 : column + 2] += 0.2
    rng = np.random.default_rng(4)
    places = [find_hottest(cam + rng.normal(0, 1e-6, cam.shape).astype(np.float32), BOX) for _ in range(20)]
    assert np.ptp(np.array(places), axis=0).max() < 0.01


def test_the_place_is_mirrored_with_the_map() -> None:
    cam = np.random.default_rng(8).random((12, 12)).astype(np.float32)
    cam[5, 6] = 3
    cam[5, 7] = 2.5
    (x, y), (mirrored_x, mirrored_y) = find_hottest(cam, BOX) or (0, 0), find_hottest(cam[:, ::-1], BOX) or (0, 0)
    assert (200 - mirrored_x, mirrored_y) == pytest.approx((x, y), abs=0.01)


@pytest.mark.parametrize("cam", [np.zeros((12, 12), np.float32), np.full((12, 12), np.nan, np.float32)])
def test_without_heat_there_is_no_second_look(cam: Float32Array) -> None:
    first = see(1.0, cam[np.newaxis])
    assert first.look_closer(0.7, 1.0, lambda _: pytest.fail("looked")) is first


def test_the_answer_is_the_mean_of_both_looks_and_the_map_that_of_the_closer() -> None:
    first = see(1.0, heat(6, 6))
    after = first.look_closer(0.5, 1.0, lambda box: see(4.0, heat(2, 3), box))
    assert after.logit == 2.5
    assert np.array_equal(after.cam, heat(2, 3)[0])
    assert after.box.exposed.rows == 150
    assert after.box.size == BOX.size
    assert after.first is first


def test_what_the_closer_look_did_not_reach_stays_as_it_was_first_seen() -> None:
    """A second fracture at the other end of the plate must not vanish."""
    first = see(1.0, heat(10, 6) + heat(1, 6, 0.9))
    after = first.look_closer(0.5, 1.0, lambda box: see(4.0, heat(7, 6), box))
    part = after.box.exposed
    assert (part.top, part.bottom) == (150, 300)
    before, (heatmap, peak) = first.spread(rows=300, columns=200), after.spread(rows=300, columns=200)
    assert np.array_equal(heatmap[:150], before.map[:150])
    assert heatmap[37, 112] > 0.85
    closer = spread_over_source(after.cam, after.box, rows=300, columns=200)
    assert np.array_equal(part.cut(heatmap), part.cut(closer))
    assert before.peak == pytest.approx((112, 262), abs=3)
    assert peak == find_peak(closer)
    assert peak is not None
    assert peak[1] >= part.top


def test_where_the_closer_look_is_cold_the_first_map_stays() -> None:
    first = see(1.0, heat(6, 6))
    after = first.look_closer(0.5, 1.0, lambda box: see(4.0, heat(0, 0, 0.0), box))
    assert after == replace(first, logits=after.logits)
    assert after.logit == 2.5


def load(folder: Path, line: str) -> Model:
    path = build_tiny_bundles(folder) / "tiny_fracture" / MANIFEST
    path.write_text(f"{line}\n{path.read_text()}")
    return Model.load(load_bundle(path.parent), runtime="onnx", threads=1)


def test_a_model_sees_finer_detail_at_the_second_look(tmp_path: Path) -> None:
    """A bright spot smaller than a cell of the whole plate is averaged away, and fills one of a part."""
    pixels = np.full((640, 640), 0.3, np.float32)
    pixels[400:430, 200:230] = 1.0
    one, two = load(tmp_path / "one", ""), load(tmp_path / "two", "second_look = 0.3")
    radiograph = Radiograph(pixels=pixels)
    once, twice = one.look_for("any", radiograph), two.look_for("any", radiograph)
    assert twice.logit > once.logit + 1
    part = twice.box.exposed
    assert (part.rows, part.columns) == (192, 192)
    assert max(part.top - 400, 430 - part.bottom, part.left - 200, 230 - part.right) <= 0
    assert twice.spread(rows=640, columns=640).peak == pytest.approx((215, 415), abs=6)


def test_a_region_has_no_closer_look(tmp_path: Path) -> None:
    path = build_tiny_bundles(tmp_path) / "tiny_region" / MANIFEST
    path.write_text(f"second_look = 0.7\n{path.read_text()}")
    with pytest.raises(BundleError, match="a fracture bundle alone has a second_look"):
        load_bundle(path.parent)


@pytest.mark.parametrize("share", ["0", "1", "-0.5", "1.5"])
def test_a_share_that_is_no_part_is_refused(tmp_path: Path, share: str) -> None:
    with pytest.raises(BundleError, match="second_look"):
        load(tmp_path, f"second_look = {share}")
