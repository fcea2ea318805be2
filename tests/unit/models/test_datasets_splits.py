"""Splits that do not leak."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.datasets import (
    BLOCK,
    Dataset,
    DatasetError,
    Sample,
    assign_folds,
    inseparable_units,
    official_parts,
)


def build_sample(number: int, **known: object) -> Sample:
    given_or_plain = {"region": "HAND", "fractured": False, "group": f"single{number}", **known}
    return Sample(path=Path(f"{number}.jpg"), number=number, **given_or_plain)  # type: ignore[arg-type]  # by name


regions = st.sampled_from(["HAND", "KNEE", ""])
known = st.fixed_dictionaries(
    {
        "region": regions,
        "fractured": st.sampled_from([True, False, None]),
        "group": st.integers(0, 60).map(lambda group: f"group{group}"),
        "patient": st.sampled_from(["", *(f"patient{patient}" for patient in range(30))]),
        "label": st.sampled_from(["", "oblique", "spiral"]),
        "numbered": st.booleans(),
    }
)
sample_lists = st.lists(st.tuples(st.integers(0, 2000), known), min_size=20, max_size=120).map(
    lambda drawn: [build_sample(number, **fields) for number, fields in drawn]
)


def ties(sample: Sample) -> list[str]:
    """Return everything that holds a sample to others."""
    block = [f"block {sample.number // BLOCK}"] if sample.numbered else []
    patient = [f"patient {sample.patient}"] if sample.patient else []
    return [f"group {sample.group}", *block, *patient]


def assert_nothing_is_separated(samples: Sequence[Sample], places: Sequence[int]) -> None:
    seen: dict[str, set[int]] = {}
    for sample, place in zip(samples, places, strict=True):
        for tie in ties(sample):
            seen.setdefault(tie, set()).add(int(place))
    assert all(len(where) == 1 for where in seen.values())


@settings(max_examples=30, deadline=None)
@given(samples=sample_lists, folds=st.integers(2, 5), seed=st.integers(0, 2**32 - 1))
def test_no_fold_separates_a_group_a_block_of_numbers_or_a_patient(
    samples: list[Sample], folds: int, seed: int
) -> None:
    units = inseparable_units(samples)
    assert_nothing_is_separated(samples, units.tolist())
    if len(set(units.tolist())) < folds:
        with pytest.raises(DatasetError, match=f"{folds} folds need"):
            assign_folds(samples, folds=folds, seed=seed)
        return
    try:
        assigned = assign_folds(samples, folds=folds, seed=seed)
    except DatasetError as error:
        assert "empty" in str(error)  # noqa: PT017 - a few draws have one unit that is nearly all
        return
    assert set(assigned.tolist()) == set(range(folds))
    assert_nothing_is_separated(samples, assigned.tolist())


@settings(max_examples=20, deadline=None)
@given(samples=sample_lists)
def test_what_nothing_ties_is_separable(samples: list[Sample]) -> None:
    units = inseparable_units(samples).tolist()
    for place, sample in enumerate(samples):
        others = {tie for at, other in enumerate(samples) if at != place for tie in ties(other)}
        if others.isdisjoint(ties(sample)):
            assert units.count(units[place]) == 1


def test_numbers_that_mean_nothing_hold_nothing_together() -> None:
    loose = [build_sample(number, numbered=False) for number in range(3 * BLOCK)]
    assert len(set(inseparable_units(loose).tolist())) == 3 * BLOCK
    assert len(set(inseparable_units([build_sample(number) for number in range(3 * BLOCK)]).tolist())) == 3


def test_a_patient_is_held_together_across_groups() -> None:
    samples = [build_sample(number, numbered=False, patient=f"patient{number % 7}") for number in range(70)]
    assert len(set(inseparable_units(samples).tolist())) == 7


def test_folds_hold_about_as_many_fractures_and_classes_each() -> None:
    samples = [
        build_sample(40 * number, fractured=number % 5 == 0, label=("oblique", "spiral", "")[number % 3])
        for number in range(600)
    ]
    folds = assign_folds(samples, folds=5, seed=7)
    for wanted in (lambda s: s.fractured, lambda s: s.label == "spiral"):
        counts = [sum(wanted(s) for s, fold in zip(samples, folds, strict=True) if fold == k) for k in range(5)]
        assert min(counts) > 0.8 * max(counts)


def test_a_class_rarer_than_the_folds_is_split_without_a_warning() -> None:
    samples = [build_sample(40 * number, label="rare" if number < 2 else "") for number in range(40)]
    assert set(assign_folds(samples, folds=5, seed=1).tolist()) == set(range(5))
    each_its_own = [build_sample(40 * number, label=str(number)) for number in range(20)]
    assert set(assign_folds(each_its_own, folds=5, seed=1).tolist()) == set(range(5))


def test_the_official_split_is_kept_but_for_training_samples_that_leak() -> None:
    samples = [
        build_sample(0, split="train", numbered=False),
        build_sample(1, split="train", numbered=False, group="copied"),
        build_sample(2, split="test", numbered=False, group="copied"),
        build_sample(3, split="train", numbered=False, patient="patient1"),
        build_sample(4, split="validation", numbered=False, patient="patient1"),
    ]
    parts = official_parts(samples)
    assert {name: rows.tolist() for name, rows in parts.items()} == {"test": [2], "train": [0], "validation": [4]}
    remarks = Dataset(samples=tuple(samples), left_out={}).remarks()
    assert remarks == (
        "official split: 3 train, 1 test, 1 validation; 1 of train show a radiograph that is also held out",
    )
    assert [s.number for s in Dataset(samples=tuple(samples), left_out={}).take("test", "validation").samples] == [2, 4]
    assert official_parts([build_sample(0)]) == {}
