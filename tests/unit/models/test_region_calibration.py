"""Promises that hold in each region, on drawn logits whose distributions are known."""

import numpy as np
import pytest

from models.calibration import OperatingPoints, expected_calibration_error, fit_platt
from models.region_calibration import calibrate_regions

FREQUENT, RARE, ODD, TINY, EMPTY = "FREQUENT", "RARE", "ODD", "TINY", "EMPTY"
REGIONS = (FREQUENT, RARE, ODD, TINY, EMPTY)


def draw(rng, *, scale=1):
    """Draw logits of regions with few fractures, many, a few radiographs that all look worse, and almost none."""
    parts = []
    for region, sound, broken, moved in (
        (FREQUENT, 400, 80, 0.0),
        (RARE, 900, 30, -1.0),
        (ODD, 60, 25, 1.5),
        (TINY, 12, 6, 1.5),
    ):
        for fractured, count in ((False, sound * scale), (True, broken * scale)):
            logits = rng.normal(2.0 * fractured - 2 + moved, 1.0, count)
            parts.append((logits, np.full(count, fractured), np.full(count, region)))
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


@pytest.fixture(scope="module")
def found():
    """What was kept of the promises on fresh radiographs, of these and of pooled limits; the mean of six draws."""
    rng = np.random.default_rng(2026)
    kept = {region: [] for region in (FREQUENT, RARE, ODD)}
    pooled = {region: [] for region in (FREQUENT, RARE, ODD)}
    errors = []
    for _ in range(6):
        logits, fractured, region = draw(rng)
        calibrations = calibrate_regions(logits, fractured, region, REGIONS, miscoverage=0.05)
        platt = fit_platt(logits, fractured)
        stated = platt.apply(logits)
        points = OperatingPoints(np.quantile(stated[fractured], 0.05), np.quantile(stated[~fractured], 0.95))
        new, broken, where = draw(rng, scale=4)
        stated = np.zeros(new.shape)
        for name in kept:
            here = where == name
            one = calibrations[name]
            stated[here] = one.platt.apply(new[here])
            for into, probability, limits in (
                (kept, stated[here], one.points),
                (pooled, platt.apply(new[here]), points),
            ):
                into[name].append(
                    (
                        (probability[broken[here]] >= limits.sensitive).mean(),
                        (probability[~broken[here]] < limits.specific).mean(),
                    )
                )
        known = np.isin(where, list(kept))
        errors.append(expected_calibration_error(stated[known], broken[known]))
    means = [{name: np.mean(pairs, axis=0) for name, pairs in one.items()} for one in (kept, pooled)]
    return *means, float(np.mean(errors))


@pytest.mark.parametrize("region", [FREQUENT, RARE, ODD])
def test_the_specific_point_keeps_its_promise_in_every_region(found, region):
    kept, _, _ = found
    assert kept[region][1] > 0.92


@pytest.mark.parametrize("region", [FREQUENT, ODD])
def test_it_keeps_no_more_than_it_promises_where_that_is_said_of_likely_fractures(found, region):
    kept, _, _ = found
    assert kept[region][1] == pytest.approx(0.95, abs=0.03)


def test_nothing_is_called_a_fracture_that_is_more_likely_none():
    """Of 900 sound radiographs and 30 fractures a specificity of 95 % is reached at a few per cent."""
    logits, fractured, region = draw(np.random.default_rng(1))
    _, points, limits = calibrate_regions(logits, fractured, region, REGIONS, miscoverage=0.05)[RARE]
    assert limits.no_fracture_at_most < 0.3, "as fitted"
    assert points.specific == 0.5
    assert points.sensitive == limits.fracture_at_least


def test_nothing_is_called_sound_that_is_more_likely_a_fracture():
    rng = np.random.default_rng(2)
    fractured = np.arange(2000) < 1900
    logits = rng.normal(2.0 * fractured, 1.0)
    platt, points, limits = calibrate_regions(
        logits, fractured, np.full(2000, FREQUENT), (FREQUENT,), miscoverage=0.05
    )[FREQUENT]
    assert limits.fracture_at_least > 0.6, "as fitted"
    assert points.sensitive == 0.5
    assert (platt.apply(logits)[fractured] >= points.sensitive).mean() > 0.95
    assert points.specific > limits.no_fracture_at_most


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_of_a_model_that_says_always_the_same_every_answer_is_uncertain(share):
    fractured = np.arange(1000) < 1000 * share
    platt, points, _ = calibrate_regions(np.zeros(1000), fractured, np.full(1000, RARE), (RARE,))[RARE]
    probability = float(platt.apply(np.zeros(1))[0])
    assert probability == pytest.approx(share, abs=0.02)
    assert points.sensitive <= probability < points.specific


def test_one_limit_for_all_regions_would_not(found):
    """The control: with many sound radiographs of a region that looks better, the others lose what is promised."""
    _, pooled, _ = found
    assert pooled[ODD][1] < 0.8


def test_the_sensitive_point_keeps_its_promise_where_there_are_fractures_enough(found):
    kept, _, _ = found
    assert kept[FREQUENT][0] == pytest.approx(0.95, abs=0.03)


def test_probabilities_are_calibrated_across_regions(found):
    assert found[2] < 0.02


@pytest.mark.parametrize("worth", [-1.0, 0.0])
def test_the_promises_hold_of_a_model_that_is_wrong_or_says_always_the_same(worth):
    logits, fractured, region = draw(np.random.default_rng(1))
    calibrations = calibrate_regions(worth * logits, fractured, region, REGIONS, miscoverage=0.05)
    for name in (FREQUENT, RARE, ODD, TINY):
        platt, points, limits = calibrations[name]
        here = region == name
        probability = platt.apply(worth * logits[here])
        broken, sound = fractured[here], ~fractured[here]
        assert np.isfinite([*points, *limits]).all()
        assert (probability[broken] >= limits.fracture_at_least).mean() > 0.8
        assert (probability[sound] <= limits.no_fracture_at_most).mean() > 0.8
        assert points.sensitive <= points.specific


def test_every_region_has_an_answer_even_without_a_radiograph():
    logits, fractured, region = draw(np.random.default_rng(1))
    calibrations = calibrate_regions(logits, fractured, region, REGIONS, miscoverage=0.05)
    assert set(calibrations) == set(REGIONS)
    for platt, points, limits in calibrations.values():
        assert platt.slope > 0
        assert 0 <= points.sensitive <= points.specific <= 1
        assert limits.fracture_at_least <= limits.no_fracture_at_most


def test_with_too_few_fractures_conformal_prediction_rules_none_out_and_the_point_is_the_least_of_them():
    logits, fractured, region = draw(np.random.default_rng(1))
    few = fractured & (np.cumsum(fractured) > 6)
    platt, points, limits = calibrate_regions(
        logits[~few], fractured[~few], region[~few], (FREQUENT,), miscoverage=0.05
    )[FREQUENT]
    assert limits.fracture_at_least == 0
    assert points.sensitive == pytest.approx(float(platt.apply(logits[~few][fractured[~few]].min())))
