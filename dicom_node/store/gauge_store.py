"""One method for each thing that is measured of the node as it stands: counts and times, and UIDs only for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.records import ENDED, DeliveryState, RevisionState
from dicom_node.store.schema import deliveries, events, image_statistics, revisions, studies, timings

_UNDELIVERED = (DeliveryState.PENDING, DeliveryState.SENT, DeliveryState.PARKED)
_UNFINISHED = tuple(state for state in RevisionState if state not in ENDED)


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Some of what waits, and since when."""

    count: int
    since: float | None
    """When the oldest of it began to wait, Unix time in seconds; None where nothing waits."""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """How long something took, as a histogram."""

    buckets: tuple[int, ...]
    """How many took up to each of the limits that were asked for; then how many there are."""
    total_s: float


class GaugeStore(Database):
    """What waits and how long things took. Each question costs what is open, or one pass through an index."""

    def waiting_studies(self) -> Backlog:
        """Count the studies that wait for more images, or for the sweep that finds them complete."""
        query = sa.select(sa.func.count(), sa.func.min(studies.c.first_open_at))
        with self._reading() as connection:
            count, since = connection.execute(query.where(studies.c.first_open_at.is_not(None))).one()
        return Backlog(count=count, since=since)

    def unfinished_revisions(self) -> dict[RevisionState, Backlog]:
        """Count the revisions in each state but the last, with the time when the oldest was found complete."""
        query = sa.select(revisions.c.state, sa.func.count(), sa.func.min(revisions.c.created_at))
        query = query.where(revisions.c.state.in_(_UNFINISHED)).group_by(revisions.c.state)
        with self._reading() as connection:
            found = {RevisionState(state): (count, since) for state, count, since in connection.execute(query)}
        every = {state: found.get(state, (0, None)) for state in _UNFINISHED}
        return {state: Backlog(count=count, since=since) for state, (count, since) in every.items()}

    def undelivered_results(self, destinations: Sequence[str]) -> dict[tuple[str, DeliveryState], Backlog]:
        """Count what each destination does not provably have, by state, with the time when its revision was complete.

        Destinations that are configured no longer are listed where something waits for them.
        """
        same = [revisions.c[name] == deliveries.c[name] for name in ("study_instance_uid", "digest")]
        query = (
            sa.select(
                deliveries.c.destination, deliveries.c.state, sa.func.count(), sa.func.min(revisions.c.created_at)
            )
            .join(revisions, sa.and_(*same))
            .where(deliveries.c.state.in_(_UNDELIVERED))
            .group_by(deliveries.c.destination, deliveries.c.state)
        )
        waiting = {(name, state): Backlog(count=0, since=None) for name in destinations for state in _UNDELIVERED}
        with self._reading() as connection:
            for name, state, count, since in connection.execute(query):
                waiting[name, DeliveryState(state)] = Backlog(count=count, since=since)
        return waiting

    def stuck_studies(self, *, open_before: float, complete_before: float) -> Backlog:
        """Count the studies that go no further; times are Unix times in seconds.

        Open since before one time, complete and without results since before the other, or failed without results:
        then nothing is parked, and nobody would hear of them.
        """
        mine = (
            deliveries.c.study_instance_uid == revisions.c.study_instance_uid,
            deliveries.c.digest == revisions.c.digest,
        )
        unmade = revisions.c.state.in_((RevisionState.QUEUED, RevisionState.ANALYSING))
        failed = sa.and_(revisions.c.state == RevisionState.FAILED, ~sa.exists().where(*mine))
        late = sa.or_(sa.and_(unmade, revisions.c.created_at < complete_before), failed)
        waiting = sa.select(studies.c.study_instance_uid, studies.c.first_open_at.label("since"))
        stuck = sa.union_all(
            waiting.where(studies.c.first_open_at < open_before),
            sa.select(revisions.c.study_instance_uid, revisions.c.created_at.label("since")).where(late),
        ).subquery()
        query = sa.select(sa.func.count(stuck.c.study_instance_uid.distinct()), sa.func.min(stuck.c.since))
        with self._reading() as connection:
            count, since = connection.execute(query).one()
        return Backlog(count=count, since=since)

    def left_out_studies(self, reason: str, since: float) -> dict[str, float]:
        """Return the studies of which images were left out for a reason since a time, each with when it was said last.

        `reason` as statistics keep it; times are Unix times in seconds. Oldest first.
        """
        table = image_statistics.c
        query = (
            sa.select(table.study_instance_uid, sa.func.max(table.made_at))
            .where(table.reason == reason, table.made_at >= since)
            .group_by(table.study_instance_uid)
            .order_by(sa.func.max(table.made_at))
        )
        with self._reading() as connection:
            return {str(study): float(at) for study, at in connection.execute(query)}

    def resent_studies(self, since: float) -> dict[str, float]:
        """Return the studies of which an instance came again as of another study or patient since a time.

        Each with when that was told last; the copy that came first has stayed. Unix times in seconds, oldest first.
        """
        told = sa.or_(
            events.c.what.contains("relational_mismatch: sent as of study ", autoescape=True),
            events.c.what.endswith("relational_mismatch: sent as of another patient", autoescape=True),
        )
        query = (
            sa.select(events.c.study_instance_uid, sa.func.max(events.c.at))
            .where(events.c.at >= since, told)
            .group_by(events.c.study_instance_uid)
            .order_by(sa.func.max(events.c.at))
        )
        with self._reading() as connection:
            return {str(study): float(at) for study, at in connection.execute(query)}

    def decisions(self) -> dict[str, int]:
        """Count the images by what was last said of them."""
        column = image_statistics.c.decision
        with self._reading() as connection:
            rows = connection.execute(sa.select(column, sa.func.count()).group_by(column)).all()
        return {str(decision): int(count) for decision, count in rows}

    def durations(self, limits_s: Sequence[float]) -> tuple[Durations, Durations]:
        """Say how long all versions took: from last image to results, and on to the proof that they are everywhere."""
        steps = (timings.c.made_at - timings.c.received_at, timings.c.delivered_at - timings.c.made_at)
        columns = [column for seconds in steps for column in _histogram(seconds, limits_s)]
        with self._reading() as connection:
            row = connection.execute(sa.select(*columns).select_from(timings)).one()
        half = len(row) // 2
        made, proven = (
            Durations(total_s=part[0], buckets=tuple(map(int, part[1:]))) for part in (row[:half], row[half:])
        )
        return made, proven


def _histogram(seconds: sa.ColumnElement[float], limits_s: Sequence[float]) -> list[sa.ColumnElement[Any]]:
    """Return the sum, and how many there are up to each limit and in all; what never ended is nowhere."""
    up_to = [sa.func.coalesce(sa.func.sum(sa.case((seconds <= limit, 1), else_=0)), 0) for limit in limits_s]
    return [sa.func.coalesce(sa.func.sum(seconds), 0.0), *up_to, sa.func.count(seconds)]
