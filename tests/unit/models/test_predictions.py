"""The table of out-of-fold predictions."""

from pathlib import Path

import numpy as np
import pytest

from models.predictions import (
    FracturePredictions,
    Predictions,
    PredictionsError,
    RegionPredictions,
    TypePredictions,
    read_predictions,
    write_predictions,
)

ONE = {"image": ["a.jpg"], "fold": [0], "cluster": [4]}


def build_fractures(count: int = 7) -> FracturePredictions:
    rng = np.random.default_rng(3)
    return FracturePredictions(
        image=np.array([f"série, {index}.jpg" for index in range(count)]),
        fold=np.arange(count) % 3,
        cluster=np.arange(count) // 2,
        region=np.array(["HAND"] * (count - 1) + ["OTHER"]),
        fractured=rng.random(count) < 0.5,
        usable=rng.random(count) < 0.9,
        output=np.array(["ANY"] * (count - 1) + [""]),
        logit=np.append(rng.normal(0, 9, count - 1), np.nan),
        probability=np.append(rng.random(count - 1) / 3e4, np.nan),
        sensitive=rng.random(count),
        specific=rng.random(count),
        peak_x=rng.integers(-1, 500, count),
        peak_y=rng.integers(-1, 500, count),
        final_logit=rng.normal(0, 1e-6, count),
    )


REGION = {"region": ["HAND"], "predicted": ["LEG"], "confidence": [0.1], "distance": [1 / 3]}
TYPE = {"type": ["OBLIQUE"], "predicted": ["SPIRAL"], "confidence": [0.1], "rank": [2]}
TABLES = [
    build_fractures(),
    RegionPredictions(**ONE, **REGION, final_region=["HAND"], final_confidence=[0.7]),
    TypePredictions(**ONE, **TYPE, final_type=["OBLIQUE"], final_confidence=[1.0]),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: type(table).__name__)
def test_a_table_reads_back_as_the_very_same_numbers(tmp_path: Path, table: Predictions) -> None:
    write_predictions(tmp_path / "table.csv", table)
    again = read_predictions(tmp_path / "table.csv", type(table))
    for name, column in vars(table).items():
        np.testing.assert_array_equal(getattr(again, name), column, strict=True)


def test_an_empty_table_reads_back(tmp_path: Path) -> None:
    write_predictions(tmp_path / "table.csv", build_fractures().select(np.zeros(7, bool)))
    assert len(read_predictions(tmp_path / "table.csv", FracturePredictions)) == 0


def test_columns_of_different_lengths_are_no_table() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        TypePredictions(**ONE, **TYPE, final_type=["OBLIQUE"] * 2, final_confidence=[1.0])


def test_a_table_without_a_column_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_predictions(path, build_fractures())
    path.write_text(path.read_text().replace("final_logit", "final"))
    with pytest.raises(PredictionsError, match="no column final_logit"):
        read_predictions(path, FracturePredictions)


def test_a_table_with_a_word_for_a_number_is_refused_by_its_column(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_predictions(path, build_fractures(2))
    path.write_text(path.read_text().replace(",ANY,", ",ANY,much"))
    with pytest.raises(PredictionsError, match="column logit"):
        read_predictions(path, FracturePredictions)
