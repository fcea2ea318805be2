"""Statistics: how much, what was said, how fast, and whether the models still see what they were measured on."""

import time
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from dicom_node.operate.statistics import judge_drift
from dicom_node.statistics.charts import draw_decisions, draw_times, write_seconds
from dicom_node.statistics.counting import Statistics, Tally, gather_statistics
from dicom_node.statistics.drift import assess_drift
from dicom_node.web.access import AnyUser
from dicom_node.web.site import TheSite
from dicom_node.web.templating import render
from inference.drift import THRESHOLD

router = APIRouter(prefix="/statistics", include_in_schema=False)

WEEKS = (4, 12, 26, 52)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A chart with the same numbers beside it."""

    title: str
    column: str
    """What the first column of the table names."""
    tallies: tuple[Tally, ...]
    answers: Markup
    times: Markup
    """Charts."""


@router.get("")
def show_statistics(
    request: Request, site: TheSite, visitor: AnyUser, weeks: Annotated[int, Query(ge=1, le=520)] = 12
) -> Response:
    """Show the page."""
    now = time.time()
    found = gather_statistics(site.store, weeks=weeks, now=now)
    drifts = assess_drift(site.settings, site.store, now)
    return render(
        request,
        "statistics.html",
        visitor=visitor,
        weeks=weeks,
        choices=sorted({*WEEKS, weeks}),
        found=found,
        parts=_draw(found),
        drifts=[(one, judge_drift(one)) for one in drifts],
        drift_days=site.settings.alerts.drift_days,
        threshold=THRESHOLD,
        seconds=write_seconds,
    )


def _draw(found: Statistics) -> list[Part]:
    kinds = (
        ("By week", "Week from", found.weeks),
        ("By region that the images show", "Region", found.regions),
        ("By sender", "Sender", found.senders),
    )
    return [
        Part(
            title=title,
            column=column,
            tallies=tallies,
            # Charts escape what they write.
            answers=Markup(draw_decisions(tallies, title=f"{title}, answers since {found.since}")),  # noqa: S704
            times=Markup(draw_times(tallies, title=f"{title}, time to result since {found.since}")),  # noqa: S704
        )
        for title, column, tallies in kinds
    ]
