"""Statistics: how much, what was said, how fast, and whether the models still see what they were measured on."""

import time
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from dicom_node.languages import Language
from dicom_node.operate.statistics import judge_drift
from dicom_node.statistics.charts import draw_decisions, draw_times, write_seconds
from dicom_node.statistics.counting import Statistics, Tally, gather_statistics
from dicom_node.statistics.drift import assess_drift
from dicom_node.web.access import AnyUser
from dicom_node.web.site import TheSite
from dicom_node.web.templating import render
from dicom_node.web.wording import Wording, find_wording
from inference.drift import THRESHOLD
from inference.phrases import Phrase

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
    wording = find_wording(request)
    return render(
        request,
        "statistics.html",
        visitor=visitor,
        weeks=weeks,
        choices=sorted({*WEEKS, weeks}),
        found=found,
        parts=_draw(found, wording),
        drifts=[(one, judge_drift(one)) for one in drifts],
        drift_days=site.settings.alerts.drift_days,
        threshold=THRESHOLD,
        seconds=lambda took: wording.number(write_seconds(took)),
    )


def _draw(found: Statistics, wording: Wording) -> list[Part]:
    regions = tuple(replace(one, name=str(wording.label(one.name))) for one in found.regions)
    return [
        _draw_part(Phrase("By week"), Phrase("Week from"), found.weeks, found.since, wording.language),
        _draw_part(Phrase("By region that the images show"), Phrase("Region"), regions, found.since, wording.language),
        _draw_part(Phrase("By sender"), Phrase("Sender"), found.senders, found.since, wording.language),
    ]


def _draw_part(title: str, column: str, tallies: tuple[Tally, ...], since: str, language: Language) -> Part:
    answers = language.say("{title}, answers since {day}", title=title, day=since)
    times = language.say("{title}, time to result since {day}", title=title, day=since)
    return Part(
        title=title,
        column=column,
        tallies=tallies,
        # Charts escape what they write.
        answers=Markup(draw_decisions(tallies, title=answers, language=language)),  # noqa: S704
        times=Markup(draw_times(tallies, title=times, language=language)),  # noqa: S704
    )
