"""What models said about radiographs they had not seen, as a table beside a bundle's metrics.

Every figure of `metrics.json` is computed from these columns (`models.fracture_figures`, `models.label_figures`), so it
can be computed again from the table. Numbers are 32-bit and written so that they read back as the very same numbers.
"""

import csv
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

TABLE = "out_of_fold.csv"
"""The table's name in a bundle folder."""

TextColumn = NDArray[np.str_]
WholeColumn = NDArray[np.int64]
NumberColumn = NDArray[np.float32]
FlagColumn = NDArray[np.bool_]

_DTYPES: dict[Any, type[np.generic]] = {
    TextColumn: np.str_,
    WholeColumn: np.int64,
    NumberColumn: np.float32,
    FlagColumn: np.bool_,
}


class PredictionsError(Exception):
    """The file is not such a table; the message names the column or the row."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Columns of one length, a row for each radiograph."""

    image: TextColumn
    """Name within the data set, see `models.pool.name_images`."""
    fold: WholeColumn
    """The fold whose model did not see the radiograph."""
    cluster: WholeColumn
    """Radiographs of one number may show one patient: resampled together."""

    def __post_init__(self) -> None:
        """Bring every column to its type; raise ValueError when lengths differ."""
        for column in fields(self):
            values = np.asarray(getattr(self, column.name), _DTYPES[column.type])
            object.__setattr__(self, column.name, values)
        lengths = {column.name: len(getattr(self, column.name)) for column in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")

    def __len__(self) -> int:
        """Return the number of radiographs."""
        return len(self.image)

    def select(self, rows: WholeColumn | FlagColumn) -> Self:
        """Return some of the rows, by number or by mask."""
        return replace(self, **{column.name: getattr(self, column.name)[rows] for column in fields(self)})


@dataclass(frozen=True, kw_only=True)
class RegionPredictions(Predictions):
    """Answers of stage 1."""

    region: TextColumn
    """The radiograph's own label."""
    predicted: TextColumn
    confidence: NumberColumn
    """Probability of `predicted`, by a temperature from the other folds."""
    distance: NumberColumn
    """Under the scope of the fold that did not see the radiograph; see `inference.scope`."""
    final_region: TextColumn
    final_confidence: NumberColumn
    """Of the shipped model, which has seen the radiograph: no figure rests on it, but the model must still say it."""

    @property
    def final_label(self) -> TextColumn:
        """The label that the shipped model gives."""
        return self.final_region


@dataclass(frozen=True, kw_only=True)
class FracturePredictions(Predictions):
    """Answers of stage 2; where no output answers for the region, `output` is empty and its numbers are nan."""

    region: TextColumn
    fractured: FlagColumn
    usable: FlagColumn
    """Without radiographs whose twins carry the other label."""
    output: TextColumn
    """Label of the output that answers."""
    logit: NumberColumn
    probability: NumberColumn
    """Calibrated by the other folds."""
    sensitive: NumberColumn
    specific: NumberColumn
    """Operating points that the other folds chose."""
    peak_x: WholeColumn
    peak_y: WholeColumn
    """Strongest activation, pixels of the file; -1 for a map without heat."""
    final_logit: NumberColumn
    """Of the shipped model, which has seen the radiograph."""


@dataclass(frozen=True, kw_only=True)
class TypePredictions(Predictions):
    """Answers of stage 3."""

    type: TextColumn
    """The radiograph's own label."""
    predicted: TextColumn
    confidence: NumberColumn
    """Probability of `predicted`, by a temperature from the other folds."""
    rank: WholeColumn
    """Place of the radiograph's own type among all by their probability: 1 where it is `predicted`; 0 if unknown."""
    final_type: TextColumn
    final_confidence: NumberColumn
    """Of the shipped model, which has seen the radiograph."""

    @property
    def final_label(self) -> TextColumn:
        """The label that the shipped model gives."""
        return self.final_type


T = TypeVar("T", bound=Predictions)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the table as CSV with a header."""
    columns = [getattr(predictions, column.name) for column in fields(predictions)]
    shown = [column.astype(np.int64) if column.dtype == np.bool_ else column for column in columns]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow([column.name for column in fields(predictions)])
        table.writerows(zip(*shown, strict=True))


def read_predictions(path: Path, kind: type[T]) -> T:
    """Read what `write_predictions` wrote.

    Raises
    ------
    PredictionsError
        A column is missing or holds something else than it should.
    OSError
        The file cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        rows = list(table)
    columns: dict[str, Any] = {}
    for column in fields(kind):
        if column.name not in (table.fieldnames or ()):
            raise PredictionsError(f"{path.name} has no column {column.name}")
        values = np.array([row[column.name] or "" for row in rows], np.str_)
        try:
            columns[column.name] = _parse(values, _DTYPES[column.type])
        except ValueError as error:
            raise PredictionsError(f"{path.name}, column {column.name}: {error}") from error
    return kind(**columns)


def _parse(values: TextColumn, dtype: type[np.generic]) -> NDArray[Any]:
    if dtype is np.bool_:
        return values.astype(np.int64).astype(np.bool_)
    return values.astype(dtype)
