"""One method for each thing that statistics ask. Answers hold no UIDs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.schema import image_statistics, timings

WEEK_S = 7 * 86_400
_NO_REGIONS: frozenset[str | None] = frozenset({None})
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ImageCount:
    """How many images of one week, sender and region were answered in one way."""

    week: int
    """Number of whole weeks since the time that was asked for."""
    sender: str
    region: str | None
    decision: str
    reason: str
    count: int


class VersionTime(NamedTuple):
    """How long one version of a study took. A tuple, for there are tens of thousands."""

    week: int
    sender: str
    regions: frozenset[str | None]
    """That its images show; None for images of which none was recognised, and where nothing was said of any image."""
    result_s: float
    """From its last image to its results."""
    proof_s: float | None
    """On to the proof that every destination has them; None where there is none yet."""


@dataclass(frozen=True, kw_only=True)
class Sample(Generic[T]):
    """What was observed, an observation an image, and of how many studies."""

    values: tuple[T, ...]
    studies: int


class StatisticsStore(Database):
    """What was said and how long it took, between two Unix times in seconds."""

    def count_images(self, since: float, until: float) -> list[ImageCount]:
        """Count the images of which something was last said in a time."""
        table = image_statistics.c
        key = (_week(table.made_at, since), table.sender, table.region, table.decision, table.reason)
        query = sa.select(*key, sa.func.count().label("count")).where(_between(table.made_at, since, until))
        with self._reading() as connection:
            return [ImageCount(**row) for row in connection.execute(query.group_by(*key)).mappings()]

    def version_times(self, since: float, until: float) -> list[VersionTime]:
        """List how long the versions took whose results were made in a time."""
        made_at = timings.c.made_at
        took = (
            sa.select(
                timings.c.study_instance_uid,
                made_at,
                _week(made_at, since),
                timings.c.sender,
                (made_at - timings.c.received_at).label("result_s"),
                (timings.c.delivered_at - made_at).label("proof_s"),
            )
            .where(_between(made_at, since, until))
            .order_by(made_at)
        )
        image = image_statistics.c
        # In a statement of its own, with a row for each version: joined there would be one for each image, all sorted.
        shown = (
            sa.select(
                image.study_instance_uid,
                image.made_at,
                sa.func.aggregate_strings(image.region, "\n"),
                sa.func.count() > sa.func.count(image.region),
            )
            .where(_between(image.made_at, since, until))
            .group_by(image.study_instance_uid, image.made_at)
        )
        with self._reading() as connection:
            regions = {
                (study, at): _read_regions(named, has_none) for study, at, named, has_none in connection.execute(shown)
            }
            rows = connection.execute(took).all()
        return [
            VersionTime(
                week=week,
                sender=sender,
                regions=regions.get((study, at), _NO_REGIONS),
                result_s=result_s,
                proof_s=proof_s,
            )
            for study, at, week, sender, result_s, proof_s in rows
        ]

    def scores(self, fracture_model: str, regions: Sequence[str], since: float) -> Sample[float]:
        """Return the probabilities that a model gave for some regions since a time."""
        table = image_statistics.c
        where = (table.fracture_model == fracture_model, table.region.in_(regions), table.made_at >= since)
        return self._sample(table.probability, where)

    def scope_distances(self, region_model: str, since: float) -> Sample[float]:
        """Return how far images lay from what a model knows, since a time."""
        table = image_statistics.c
        return self._sample(table.scope_distance, (table.region_model == region_model, table.made_at >= since))

    def regions_seen(self, region_model: str, since: float) -> Sample[str]:
        """Return the regions that a model named, since a time."""
        table = image_statistics.c
        return self._sample(table.region, (table.region_model == region_model, table.made_at >= since))

    def _sample(self, column: sa.ColumnElement[Any], where: Sequence[sa.ColumnElement[bool]]) -> Sample[Any]:
        query = sa.select(column, image_statistics.c.study_instance_uid).where(column.is_not(None), *where)
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return Sample(values=tuple(row[0] for row in rows), studies=len({row[1] for row in rows}))


@lru_cache
def _read_regions(named: str | None, has_none: bool) -> frozenset[str | None]:
    return frozenset([*(named.split("\n") if named else ()), *([None] if has_none else ())])


def _week(column: sa.ColumnElement[float], since: float) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.floor((column - since) / WEEK_S), sa.Integer).label("week")


def _between(column: sa.ColumnElement[float], since: float, until: float) -> sa.ColumnElement[bool]:
    return sa.and_(column >= since, column < until)
