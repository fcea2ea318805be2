"""One method for each thing that statistics ask. Answers hold no UIDs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.schema import image_statistics, timings

WEEK_S = 7 * 86_400
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


@dataclass(frozen=True, kw_only=True)
class VersionTime:
    """How long one version of a study took; a row for each region that its images show."""

    version: int
    """The same number in the rows of one version."""
    week: int
    sender: str
    region: str | None
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
        version = (timings.c.study_instance_uid, timings.c.digest)
        same = sa.and_(
            image_statistics.c.study_instance_uid == timings.c.study_instance_uid,
            image_statistics.c.made_at == timings.c.made_at,
        )
        region = image_statistics.c.region
        query = (
            sa.select(
                *version,
                _week(timings.c.made_at, since),
                timings.c.sender,
                region,
                (timings.c.made_at - timings.c.received_at).label("result_s"),
                (timings.c.delivered_at - timings.c.made_at).label("proof_s"),
            )
            .join(image_statistics, same, isouter=True)
            .where(_between(timings.c.made_at, since, until))
            .distinct()
        )
        numbers: dict[tuple[str, str], int] = {}
        with self._reading() as connection:
            rows = connection.execute(query).all()
        return [
            VersionTime(
                version=numbers.setdefault((row[0], row[1]), len(numbers)),
                week=row.week,
                sender=row.sender,
                region=row.region,
                result_s=row.result_s,
                proof_s=row.proof_s,
            )
            for row in rows
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


def _week(column: sa.ColumnElement[float], since: float) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.floor((column - since) / WEEK_S), sa.Integer).label("week")


def _between(column: sa.ColumnElement[float], since: float, until: float) -> sa.ColumnElement[bool]:
    return sa.and_(column >= since, column < until)
