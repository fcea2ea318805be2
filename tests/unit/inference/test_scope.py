"""Distances from what is known, and likeness to what is known to be something else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.errors import BundleError
from inference.scope import Scope, fit_discriminant, fit_scope

CHANNELS = 40


def draw_embeddings(count: int, *, seed: int, shift: float = 0.0, towards: int = 0) -> np.ndarray:
    """Draw 40 channels of which 6 directions vary much and the others little, shifted along one channel."""
    mixing = np.random.default_rng(0).normal(size=(6, CHANNELS))
    rng = np.random.default_rng(seed)
    drawn = 3 + rng.normal(size=(count, 6)) @ mixing + 0.1 * rng.normal(size=(count, CHANNELS))
    drawn[:, towards] += shift
    return drawn.astype(np.float32)


@pytest.fixture(scope="module")
def taught() -> Scope:
    """Return a scope that knows two kinds of outsiders, each shifted along a channel of its own."""
    outside = {
        "a trunk": [draw_embeddings(200, seed=5, shift=4)],
        "a picture": [
            draw_embeddings(200, seed=6, shift=4, towards=1),
            draw_embeddings(50, seed=7, shift=5, towards=1),
        ],
    }
    return fit_scope(draw_embeddings(1000, seed=1), axes=6, outside=outside, limits=(10.0, 0.5))


def test_unseen_samples_of_the_same_kind_lie_at_a_distance_of_about_one() -> None:
    distances = fit_scope(draw_embeddings(2000, seed=1), axes=6).distances(draw_embeddings(2000, seed=2))
    assert np.sqrt(np.mean(np.square(distances))) == pytest.approx(1, abs=0.05)


def test_a_departure_off_the_known_axes_counts_more_than_one_along_them() -> None:
    known = draw_embeddings(2000, seed=1)
    scope = fit_scope(known, axes=6)
    along = scope.directions[:, 0]
    off = np.random.default_rng(3).normal(size=CHANNELS).astype(np.float32)
    off -= scope.directions @ (scope.directions.T @ off)
    off /= np.linalg.norm(off)
    middle = known.mean(axis=0)
    assert scope.distance(middle + 2 * off) > 3 * scope.distance(middle + 2 * along)


def test_limbs_have_a_likeness_near_none_and_unseen_outsiders_one_near_one(taught: Scope) -> None:
    assert np.median(taught.likeness(draw_embeddings(500, seed=2))) == pytest.approx(0, abs=0.15)
    assert np.median(taught.likeness(draw_embeddings(500, seed=8, shift=4))) == pytest.approx(1, abs=0.25)


@pytest.mark.fault(53)
def test_known_outsiders_are_refused_and_limbs_are_not(taught: Scope) -> None:
    assert (taught.distances(draw_embeddings(500, seed=9, shift=4)) > 1).mean() > 0.99
    assert (taught.distances(draw_embeddings(500, seed=9)) > 1).mean() < 0.01


def test_what_nobody_foresaw_is_refused_for_being_strange(taught: Scope) -> None:
    assert taught.weights is not None
    known, _ = np.linalg.qr(taught.weights)
    course = np.random.default_rng(3).normal(size=CHANNELS)
    course -= known @ (known.T @ course)
    stranger = (draw_embeddings(1, seed=3)[0] + 30 * course).astype(np.float32)
    assert taught.likeness(stranger[np.newaxis])[0] < taught.limits[1]
    assert taught.distance(stranger) > 1
    assert taught.explain(stranger) == "not like the limb radiographs the models know"


@pytest.mark.parametrize(("towards", "kind"), [(0, "a trunk"), (1, "a picture")])
def test_the_explanation_names_the_kind_of_outsider(taught: Scope, towards: int, kind: str) -> None:
    one = draw_embeddings(1, seed=10, shift=4, towards=towards)[0]
    assert taught.explain(one) == f"more like {kind} than like a limb"


def test_every_family_weighs_alike_however_many_were_drawn() -> None:
    inside = draw_embeddings(300, seed=1)
    one, other = draw_embeddings(30, seed=2, shift=3), draw_embeddings(30, seed=3, shift=3, towards=1)
    even = fit_discriminant(inside, {"kind": [one, other]})
    repeated = fit_discriminant(inside, {"kind": [one, np.concatenate([other] * 9)]})
    assert np.allclose(even[0], repeated[0], atol=1e-5)
    assert np.allclose(even[1], repeated[1], atol=1e-4)


def test_channels_may_have_any_unit() -> None:
    inside, outside = draw_embeddings(300, seed=1), draw_embeddings(60, seed=2, shift=3)
    units = np.geomspace(0.01, 100, CHANNELS).astype(np.float32)
    plain = fit_scope(inside, axes=6, outside={"kind": [outside]})
    scaled = fit_scope(inside * units, axes=6, outside={"kind": [outside * units]})
    assert np.allclose(plain.likeness(outside), scaled.likeness(outside * units), atol=1e-3)


def test_a_channel_that_never_varies_says_nothing() -> None:
    inside, outside = draw_embeddings(100, seed=1), draw_embeddings(30, seed=2, shift=3)
    inside[:, 5] = outside[:, 5] = 0
    assert np.isfinite(fit_scope(inside, axes=6, outside={"kind": [outside]}).likeness(outside)).all()


@settings(max_examples=30, deadline=None)
@given(strangest=st.floats(0.1, 10), likest=st.floats(0.1, 2), seed=st.integers(0, 1000))
def test_one_is_where_the_nearer_limit_is_reached(taught: Scope, strangest: float, likest: float, seed: int) -> None:
    scope = replace(taught, limits=(strangest, likest))
    probes = draw_embeddings(20, seed=seed, shift=2.0)
    over = (scope.strangeness(probes) > strangest) | (scope.likeness(probes) > likest)
    close = np.abs(scope.distances(probes) - 1) < 1e-4
    assert ((scope.distances(probes) > 1) == over)[~close].all()
    assert scope.distance(probes[0]) == pytest.approx(scope.distances(probes)[0], rel=1e-4)


def test_what_is_saved_gives_the_same_distances(tmp_path: Path, taught: Scope) -> None:
    for scope in (taught, fit_scope(draw_embeddings(500, seed=1), axes=6)):
        scope.save(tmp_path / "scope.npz")
        loaded = Scope.load(tmp_path / "scope.npz")
        probe = draw_embeddings(50, seed=4) * 1.3
        assert np.allclose(loaded.distances(probe), scope.distances(probe), rtol=0.02, atol=0.02)
        assert (loaded.kinds, loaded.limits) == (scope.kinds, scope.limits)
        assert loaded.explain(probe[0]) == scope.explain(probe[0])


def test_a_file_from_before_outsiders_were_known_judges_strangeness_alone(tmp_path: Path) -> None:
    scope = fit_scope(draw_embeddings(500, seed=1), axes=6)
    np.savez(
        tmp_path / "scope.npz",
        mean=scope.mean,
        directions=scope.directions,
        inverse_spread=np.linalg.norm(scope.axes, axis=0),
        residual_spread=np.float32(scope.residual_spread),
    )
    probe = draw_embeddings(50, seed=4)
    assert np.allclose(Scope.load(tmp_path / "scope.npz").distances(probe), scope.strangeness(probe), rtol=1e-4)


def test_a_file_that_is_no_scope_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "scope.npz").write_bytes(b"no archive")
    with pytest.raises(BundleError, match=r"scope\.npz does not hold scope parameters"):
        Scope.load(tmp_path / "scope.npz")
