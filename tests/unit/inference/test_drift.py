import json
from math import log
from pathlib import Path

import numpy as np
import pytest

from inference.bundle import REFERENCE, load_bundle, read_bundle
from inference.drift import (
    THRESHOLD,
    Comparison,
    Distribution,
    compare,
    compare_shares,
    describe_distribution,
    least_count,
    load_reference,
)
from inference.errors import BundleError

BUNDLES = Path(__file__).resolve().parents[3] / "models" / "bundles"
HALVES = Distribution(edges=(0.0,), shares=(0.5, 0.5), count=10**9)


def test_the_index_is_that_of_the_formula():
    found = compare(HALVES, [-1.0] * 300_000 + [1.0] * 700_000, independent=10**6)
    assert found.psi == pytest.approx(-0.2 * log(0.6) + 0.2 * log(1.4), abs=1e-4)


def test_the_same_distribution_has_an_index_of_nothing():
    assert compare(HALVES, [-1.0, 1.0] * 50_000, independent=10**5).psi == pytest.approx(0, abs=1e-9)


def test_an_empty_bin_is_a_large_index_and_no_infinite_one():
    assert 1 < compare(HALVES, [1.0] * 1000, independent=1000).psi < 10


def test_nothing_seen_is_no_drift():
    found = compare(HALVES, [], independent=0)
    assert (found.psi, found.has_drifted) == (pytest.approx(0), False)


def test_what_is_above_the_threshold_counts_only_where_there_is_enough_of_it():
    assert not Comparison(psi=THRESHOLD + 1, count=99, needed=100).has_drifted
    assert Comparison(psi=THRESHOLD + 0.01, count=100, needed=100).has_drifted
    assert not Comparison(psi=THRESHOLD, count=100, needed=100).has_drifted
    assert not Comparison(psi=9, count=10**9, needed=None).has_drifted


def test_a_small_reference_takes_more_and_a_very_small_one_is_never_enough():
    assert least_count(10, 10**9) < least_count(10, 1000) < least_count(10, 300)
    assert least_count(10, 150) is None


def draw(rng, size):
    return rng.normal(size=size).astype(np.float32)


def share_of_alarms(studies, *, looks=1500):
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(looks):
        reference = describe_distribution(draw(rng, 600))
        alarms += compare(reference, draw(rng, studies), independent=studies).psi > THRESHOLD
    return alarms / looks


def test_from_the_least_count_on_chance_alone_raises_nothing_and_below_it_does():
    assert share_of_alarms(least_count(10, 600)) == 0
    assert share_of_alarms(60) > 0.2


def test_images_of_one_study_are_not_independent():
    """Three images that say the same are one observation: counted as three they would pass for enough."""
    rng = np.random.default_rng(3)
    reference = describe_distribution(draw(rng, 600))
    found = compare(reference, np.repeat(draw(rng, 100), 3), independent=100)
    assert found.needed is not None
    assert 100 < found.needed <= 300
    assert not found.is_trusted


def test_a_shift_is_found():
    rng = np.random.default_rng(1)
    reference = describe_distribution(draw(rng, 600))
    needed = least_count(10, 600)
    assert compare(reference, draw(rng, needed) + 0.8, independent=needed).has_drifted


def test_values_on_an_edge_are_counted_alike_then_and_now():
    values = np.repeat(np.arange(20, dtype=np.float32), 50)
    assert compare(describe_distribution(values), values, independent=1000).psi == pytest.approx(0, abs=1e-6)


def test_many_equal_values_make_fewer_bins():
    assert len(describe_distribution(np.zeros(100, np.float32)).edges) == 1


def test_against_a_small_reference_half_as_many_bins_can_be_trusted_where_ten_cannot() -> None:
    values = np.arange(178, dtype=np.float32)
    small, large = describe_distribution(values), describe_distribution(np.arange(300, dtype=np.float32))
    assert (len(small.shares), len(large.shares)) == (5, 10)
    assert least_count(10, small.count) > 4000
    assert compare(small, values, independent=400).is_trusted


def test_names_are_compared_by_their_shares():
    then = {"HAND": 500, "KNEE": 500}
    assert compare_shares(then, {"HAND": 100, "KNEE": 100}, independent=200).psi < 0.01
    assert compare_shares(then, {"HAND": 200, "HIP": 100}, independent=300).psi > 1


@pytest.mark.parametrize("edges", [(1.0, 0.0), (0.0, 0.0), (0.0,)])
def test_bins_that_do_not_rise_or_do_not_fit_their_shares_are_refused(edges):
    with pytest.raises(ValueError, match="must rise"):
        Distribution(edges=edges, shares=(0.2, 0.3, 0.5), count=1)


@pytest.mark.parametrize("name", ["fracture", "region"])
def test_every_shipped_bundle_carries_its_reference(name):
    bundle = load_bundle(BUNDLES / name)
    reference = load_reference(bundle)
    assert reference is not None
    assert [score.regions for score in reference.scores] == [answer.regions for answer in bundle.manifest.answers]
    assert (reference.scope_distance is not None) == (name == "region")


def test_an_altered_reference_is_refused_and_one_the_manifest_does_not_name_is_none(tmp_path):
    shipped = BUNDLES / "region"
    for path in ("manifest.toml", REFERENCE):
        (tmp_path / path).write_bytes((shipped / path).read_bytes())
    content = json.loads((tmp_path / REFERENCE).read_text())
    content["scope_distance"]["count"] = 9
    (tmp_path / REFERENCE).write_text(json.dumps(content))
    with pytest.raises(BundleError, match="is not the file the manifest describes"):
        load_reference(read_bundle(tmp_path))
    manifest = (tmp_path / "manifest.toml").read_text().splitlines()
    (tmp_path / "manifest.toml").write_text("\n".join(line for line in manifest if REFERENCE not in line))
    assert load_reference(read_bundle(tmp_path)) is None
