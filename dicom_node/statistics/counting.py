"""How much the node did and how fast: by week, region and sender. Values without UIDs, for the command and a page."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias, TypeVar

import numpy as np

from dicom_node.statistics.recording import OUTSIDE_SCOPE
from dicom_node.store import WEEK_S, ImageCount, Store, VersionTime
from inference.phrases import Phrase
from inference.types import Decision

NO_REGION = Phrase("no region recognised")


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long versions of studies took, in seconds; None where there were none."""

    versions: int
    result_median_s: float | None
    """From the last image to the results."""
    result_95_s: float | None
    """19 of 20 took no longer."""
    proof_median_s: float | None
    """From the results to the proof that every destination has them."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What was said of images. Each is counted once, as of the newest version that holds it."""

    name: str
    """Of the week (its Monday, UTC), the region that the image shows, or the sender's AE title."""
    images: int
    fracture: int
    no_fracture: int
    uncertain: int
    outside_scope: int
    """Refused by the models as unlike all that they know."""
    otherwise_not_analysed: int
    times: Times


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """All of it, for some whole weeks and the one that has begun."""

    since: str
    """First day, ISO 8601, UTC."""
    total: Tally
    weeks: tuple[Tally, ...]
    """Oldest first; weeks without images too."""
    regions: tuple[Tally, ...]
    senders: tuple[Tally, ...]
    reasons: tuple[tuple[str, int], ...]
    """Why images were not analysed, most frequent first."""


def gather_statistics(store: Store, *, weeks: int, now: float) -> Statistics:
    """Gather what was done in the last `weeks` weeks, the present one included; `now` is Unix time in seconds."""
    today = datetime.fromtimestamp(now, UTC).date()
    monday = today - timedelta(days=today.weekday(), weeks=weeks - 1)
    since = datetime(monday.year, monday.month, monday.day, tzinfo=UTC).timestamp()
    until = since + weeks * WEEK_S
    images, times = store.count_images(since, until), store.version_times(since, until)
    by_week = _group(images, times, lambda row: (row.week,))
    reasons: Counter[str] = Counter()
    for row in images:
        if row.reason:
            reasons[row.reason] += row.count
    return Statistics(
        since=monday.isoformat(),
        total=_tally("all", images, times),
        weeks=tuple(
            _tally((monday + timedelta(weeks=week)).isoformat(), *by_week.get(week, ([], []))) for week in range(weeks)
        ),
        regions=_tally_all(images, times, _list_regions),
        senders=_tally_all(images, times, lambda row: (row.sender,)),
        reasons=tuple(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
    )


Row: TypeAlias = ImageCount | VersionTime
Rows: TypeAlias = tuple[list[ImageCount], list[VersionTime]]
N = TypeVar("N", int, str)


def _list_regions(row: Row) -> Iterable[str]:
    """List the regions that a row counts for: a version for each that its images show."""
    regions = (row.region,) if isinstance(row, ImageCount) else row.regions
    return [region or NO_REGION for region in regions]


def _group(
    images: Iterable[ImageCount], times: Iterable[VersionTime], names: Callable[[Row], Iterable[N]]
) -> dict[N, Rows]:
    groups: dict[N, Rows] = {}
    for image in images:
        for name in names(image):
            groups.setdefault(name, ([], []))[0].append(image)
    for time in times:
        for name in names(time):
            groups.setdefault(name, ([], []))[1].append(time)
    return groups


def _tally_all(
    images: Sequence[ImageCount], times: Sequence[VersionTime], names: Callable[[Row], Iterable[str]]
) -> tuple[Tally, ...]:
    """Tally each group, that with most images first."""
    tallies = [_tally(name, *rows) for name, rows in _group(images, times, names).items()]
    return tuple(sorted(tallies, key=lambda tally: (-tally.images, tally.name)))


def _tally(name: str, images: Sequence[ImageCount], times: Sequence[VersionTime]) -> Tally:
    said: Counter[str] = Counter()
    for row in images:
        said[row.decision] += row.count
    outside = sum(row.count for row in images if row.reason == OUTSIDE_SCOPE)
    return Tally(
        name=name,
        images=said.total(),
        fracture=said[Decision.FRACTURE],
        no_fracture=said[Decision.NO_FRACTURE],
        uncertain=said[Decision.UNCERTAIN],
        outside_scope=outside,
        otherwise_not_analysed=said[Decision.NOT_ANALYSED] - outside,
        times=_summarise(times),
    )


def _summarise(times: Sequence[VersionTime]) -> Times:
    took = [row.result_s for row in times]
    proven = [row.proof_s for row in times if row.proof_s is not None]
    return Times(
        versions=len(times),
        result_median_s=float(np.median(took)) if took else None,
        result_95_s=float(np.quantile(took, 0.95)) if took else None,
        proof_median_s=float(np.median(proven)) if proven else None,
    )
