"""A heat map that misleads is withheld, says why, and leaves the prediction alone."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from inference.bundle import MANIFEST, QualityLimits
from inference.limb import SIDE, find_limb
from inference.model import Model
from inference.pipeline import Pipeline
from inference.preprocessing import Exposed, Letterbox
from inference.quality import Quality, measure_quality
from inference.runtime import Scores
from inference.testing import build_tiny_bundles
from inference.types import Decision, Float32Array, Radiograph

CELLS = 20
LIMITS = QualityLimits()
ON_LIMB = (10, 8)


def build_radiograph(*, aspect: float = 1.0) -> Radiograph:
    """Draw a limb with its bone from top to bottom, air on both sides, a letter in it, a black border at the bottom.

    In the square of 400 the picture lies from column 60 to 340.
    """
    pixels = np.full((400, 280), 0.12, np.float32)
    pixels[:, 60:160] = 0.35
    pixels[:, 90:130] = 0.8
    pixels[cv2.putText(np.zeros((400, 280), np.uint8), "R", (225, 60), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 1, 4) > 0] = 1
    pixels[330:] = 0
    noisy = np.clip(pixels + np.random.default_rng(2).normal(0, 0.01, pixels.shape), 0, 1).astype(np.float32)
    shape = 280, round(400 / aspect)
    return Radiograph(pixels=cv2.resize(noisy, shape, interpolation=cv2.INTER_AREA), pixel_aspect=aspect)


def place_heat(*spots: tuple[int, int], cells: int = CELLS) -> Float32Array:
    """Return a map with a hot spot at each (row, column) of 20 x 20 cells."""
    y, x = np.indices((cells, cells)) * CELLS / cells
    return np.maximum.reduce([np.exp(-((y - row) ** 2 + (x - column) ** 2) / 4) for row, column in spots]).astype(
        np.float32
    )


def measure(*views: Float32Array) -> Quality:
    radiograph = build_radiograph()
    return measure_quality(np.stack(views), Letterbox.around(radiograph, size=400), find_limb(radiograph))


def test_one_spot_on_the_limb_that_both_views_show_is_worth_showing() -> None:
    quality = measure(place_heat(ON_LIMB), place_heat(ON_LIMB) * 0.7)
    assert quality.objection(LIMITS) == ""
    assert quality.flatness < 0.05
    assert quality.inside > 0.9
    assert quality.agreement == pytest.approx(1)


@pytest.mark.parametrize("heat", [0.0, 0.3], ids=["empty", "even"])
def test_a_map_in_which_nothing_stands_out_is_withheld(heat: float) -> None:
    even = np.full((CELLS, CELLS), heat, np.float32)
    quality = measure(even)
    assert quality.objection(LIMITS) == "no place in it stands out"
    assert quality.flatness == pytest.approx(0.5 if heat else 1)


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_withheld(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert measure(*rng.exponential(size=(2, CELLS, CELLS)).astype(np.float32)).objection(LIMITS)


@pytest.mark.parametrize(
    "spot",
    [(10, 1), (10, 15), (19, 8), (2, 15)],
    ids=["padding", "air", "black border", "marker"],
)
def test_heat_beside_the_limb_is_withheld(spot: tuple[int, int]) -> None:
    quality = measure(place_heat(spot), place_heat(spot))
    assert quality.inside < 0.3
    assert quality.objection(LIMITS) == f"only {quality.inside:.0%} of the heat lies on the limb"


def test_two_views_that_point_to_different_places_are_withheld() -> None:
    quality = measure(place_heat((4, 8)), place_heat((15, 8)))
    assert quality.inside > 0.9
    assert quality.objection(LIMITS) == "that of the mirror image shows another place"


def test_two_spots_that_both_views_show_are_no_contradiction() -> None:
    spots = (4, 8), (15, 8)
    assert measure(place_heat(*spots), place_heat(*spots)[:, ::-1][:, ::-1] * 2).objection(LIMITS) == ""


def test_a_model_that_looks_once_cannot_contradict_itself() -> None:
    assert measure(place_heat(ON_LIMB)).agreement is None


def test_the_figures_do_not_depend_on_how_fine_the_map_is() -> None:
    coarse, fine = (measure(place_heat(ON_LIMB, cells=cells), place_heat((11, 8), cells=cells)) for cells in (10, 40))
    assert coarse.flatness == pytest.approx(fine.flatness, abs=0.02)
    assert coarse.inside == pytest.approx(fine.inside, abs=0.05)
    assert coarse.agreement == pytest.approx(fine.agreement, abs=0.05)


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_the_limb_is_found_where_it_was_drawn(aspect: float) -> None:
    limb = find_limb(build_radiograph(aspect=aspect)).mask
    y, x = np.argwhere(limb).T / SIDE * 400
    # Margin of a twentieth of the side on each side of the limb, columns 120 to 220 of the square of 400.
    assert (x.min(), x.max()) == pytest.approx((100, 240), abs=8)
    assert y.min() < 4
    assert y.max() == pytest.approx(350, abs=8)


def test_the_limb_follows_a_turned_radiograph() -> None:
    pixels = build_radiograph().pixels
    limb = find_limb(Radiograph(pixels=pixels)).mask
    for turn in (np.fliplr, np.flipud, np.transpose):
        turned = find_limb(Radiograph(pixels=np.ascontiguousarray(turn(pixels)))).mask
        assert np.mean(turned != turn(limb)) < 0.03


def test_where_nothing_can_be_told_apart_all_of_the_picture_is_limb() -> None:
    limb = find_limb(Radiograph(pixels=np.full((100, 50), 0.4, np.float32))).mask
    assert limb[:, SIDE // 4 : 3 * SIDE // 4].all()
    assert limb.sum() == SIDE * SIDE // 2


def test_within_a_part_of_the_radiograph_the_limb_is_where_it_is_in_the_whole() -> None:
    """Its limb is not searched anew: what a part shows may be nothing but bone."""
    radiograph = build_radiograph()
    part = Exposed(100, 380, 40, 240)
    limb = find_limb(radiograph)
    whole, within = limb.mask, limb.within(Letterbox.fit(part, pixel_aspect=1, size=384))
    for y in range(105, 380, 10):
        for x in range(45, 240, 10):
            expected = whole[int(y * SIDE / 400), int((x + 60) * SIDE / 400)]
            # The part is 280 rows high; 200 columns lie in the middle of as many.
            found = within[int((y - 100) * SIDE / 280), int((x - 40 + 40) * SIDE / 280)]
            assert found == expected or abs(x - 40) < 12 or abs(x - 180) < 12 or abs(y - 350) < 12, (x, y)
    assert not within[:, : int(40 * SIDE / 280)].any()
    assert not within[:, int(240 * SIDE / 280) + 1 :].any()


def test_of_a_radiograph_without_borders_the_whole_is_all_that_is_within() -> None:
    radiograph = Radiograph(pixels=np.ascontiguousarray(build_radiograph().pixels[:330]))
    limb = find_limb(radiograph)
    assert np.mean(limb.within(Letterbox.around(radiograph, size=384)) != limb.mask) < 0.01


class Scripted:
    """Answers every pair with the same logit and these maps."""

    def __init__(self, logit: float, views: Float32Array) -> None:
        self._scores = Scores(
            logits=np.full((2, 1), logit, np.float32), cam=views[..., np.newaxis], embedding=np.ones((2, 1), np.float32)
        )

    def run(self, tensor: Float32Array) -> Scores:
        assert tensor.shape[0] == 2
        return self._scores


def script(folder: Path, logit: float, *views: Float32Array) -> Pipeline:
    """Return a pipeline whose fracture model answers so; `views` lie as the radiograph."""
    path = build_tiny_bundles(folder) / "tiny_fracture" / MANIFEST
    path.write_text("mirrored = true\n" + path.read_text())
    pipeline = Pipeline.load(folder, threads=1)
    (fracture,) = pipeline.fracture_models
    runtime = Scripted(logit, np.stack([views[0], views[1][:, ::-1]]))
    scripted = Model(bundle=fracture.bundle, runtime=runtime)
    return Pipeline(pipeline.region_model, (scripted,), pipeline._scope)  # noqa: SLF001 - all else stays


@pytest.mark.parametrize(
    ("logit", "decision"), [(4.0, Decision.FRACTURE), (0.0, Decision.UNCERTAIN), (-9.0, Decision.NO_FRACTURE)]
)
def test_a_withheld_map_is_said_and_the_prediction_stays(tmp_path: Path, logit: float, decision: Decision) -> None:
    good = script(tmp_path / "good", logit, place_heat(ON_LIMB), place_heat(ON_LIMB)).analyse(build_radiograph())
    bad = script(tmp_path / "bad", logit, place_heat((4, 8)), place_heat((15, 8))).analyse(build_radiograph())
    assert good.decision is bad.decision is decision
    assert good.heatmap is not None
    assert bool(good.rois) is (decision is not Decision.NO_FRACTURE)
    assert good.heatmap_peak is not None
    assert (bad.heatmap, bad.rois, bad.heatmap_peak) == (None, (), None)
    assert bad.flags == ("The heat map is withheld: that of the mirror image shows another place.",)
    assert bad == replace(good, heatmap=None, rois=(), heatmap_peak=None, flags=bad.flags)


class Turning:
    """Answers the first pair with these maps, and the next one with those."""

    def __init__(self, *looks: Float32Array) -> None:
        self._looks = iter(looks)

    def run(self, tensor: Float32Array) -> Scores:
        assert len(tensor) == 2
        views = np.stack([look := next(self._looks), look[:, ::-1]])[..., np.newaxis]
        return Scores(logits=np.full((2, 1), 4, np.float32), cam=views, embedding=np.ones((2, 1), np.float32))


@pytest.mark.parametrize(
    ("second", "closer", "good"),
    [((3, 9), (10, 9), True), ((3, 18), (10, 9), False), ((3, 9), (10, 18), False)],
    ids=["both on the limb", "the first in the air", "the closer in the air"],
)
def test_a_map_is_worth_showing_where_both_looks_are(
    tmp_path: Path, second: tuple[int, int], closer: tuple[int, int], *, good: bool
) -> None:
    """The first look is hot low on the limb, and almost as hot high on it or beside it."""
    build_tiny_bundles(tmp_path)
    path = tmp_path / "tiny_fracture" / MANIFEST
    path.write_text(f"mirrored = true\nsecond_look = 0.5\n{path.read_text()}")
    pipeline = Pipeline.load(tmp_path, threads=1)
    first = np.maximum(place_heat((15, 9)), 0.9 * place_heat(second, (1, second[1]), (5, second[1])))
    turning = Model(bundle=pipeline.fracture_models[0].bundle, runtime=Turning(first, place_heat(closer)))
    analysis = Pipeline(pipeline.region_model, (turning,), pipeline._scope).analyse(build_radiograph())  # noqa: SLF001 - as above
    if not good:
        assert (analysis.heatmap, analysis.rois, analysis.heatmap_peak) == (None, (), None)
        (flag,) = analysis.flags
        assert flag.startswith("The heat map is withheld: only ")
        assert flag.endswith("of the heat lies on the limb.")
        return
    assert analysis.heatmap is not None
    assert analysis.heatmap[200:].max() == 255
    assert analysis.heatmap[:150].any()
    assert len(analysis.rois) > 1


def test_where_no_fracture_is_found_a_map_without_heat_is_as_it_should_be(tmp_path: Path) -> None:
    cold = np.zeros_like(place_heat(ON_LIMB))
    analysis = script(tmp_path / "sound", -9.0, cold, cold).analyse(build_radiograph())
    assert analysis.decision is Decision.NO_FRACTURE
    assert analysis.heatmap is not None
    assert not analysis.heatmap.any()
    assert (analysis.rois, analysis.heatmap_peak, analysis.flags) == ((), None, ())
    doubtful = script(tmp_path / "doubtful", 0.0, cold, cold).analyse(build_radiograph())
    assert (doubtful.decision, doubtful.heatmap) == (Decision.UNCERTAIN, None)
    assert doubtful.flags == ("The heat map is withheld: no place in it stands out.",)


def test_a_bundle_carries_its_own_limits(tmp_path: Path) -> None:
    pipeline = script(tmp_path, 4.0, place_heat((4, 8)), place_heat((15, 8)))
    path = tmp_path / "tiny_fracture" / MANIFEST
    path.write_text(path.read_text() + "\n[quality]\nagreement = -1.0\n")
    (tolerant,) = Pipeline.load(tmp_path, threads=1).fracture_models
    lenient = Model(bundle=tolerant.bundle, runtime=pipeline.fracture_models[0].runtime)
    analysis = Pipeline(pipeline.region_model, (lenient,), pipeline._scope).analyse(build_radiograph())  # noqa: SLF001 - as above
    assert analysis.heatmap is not None
    assert analysis.flags == ()
