"""What happened to a study, in order, and how long each step took."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dicom_node.store import Event, ReceivedInstance
from inference.phrases import Phrase


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A line of the timeline."""

    at: float
    """Unix time in seconds."""
    what: str
    after_s: float
    """Seconds since the line before it; 0 for the first."""


def build_timeline(received: Sequence[ReceivedInstance], events: Iterable[Event]) -> list[Moment]:
    """Put arrivals and events in the order in which they happened.

    Instances that came one after the other, with nothing else in between, are one line: it is when the last of them
    came.
    """
    arrivals = [(one.received_at, "", one.calling_ae_title) for one in received]
    happened = sorted([*arrivals, *((event.at, event.what, "") for event in events)])
    moments: list[Moment] = []
    waiting: list[tuple[float, str]] = []

    def add(at: float, what: str) -> None:
        moments.append(Moment(at=at, what=what, after_s=at - moments[-1].at if moments else 0.0))

    def add_arrivals() -> None:
        if waiting:
            senders = ", ".join(sorted({sender for _, sender in waiting}))
            add(
                waiting[0][0],
                Phrase("first of {number} instance(s) received from {senders}", number=len(waiting), senders=senders),
            )
            if len(waiting) > 1:
                add(waiting[-1][0], Phrase("last of {number} instances received", number=len(waiting)))
            waiting.clear()

    for at, what, sender in happened:
        if what:
            add_arrivals()
            add(at, what)
        else:
            waiting.append((at, sender))
    add_arrivals()
    return moments


def format_time(at: float | None) -> str:
    """Write a Unix time in seconds as the machine's local time; empty for None."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def format_duration(seconds: float) -> str:
    """Write a duration in the two largest units that it has."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    units = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
    first = next(index for index, (size, _) in enumerate(units) if seconds >= size)
    whole, rest = divmod(int(seconds), units[first][0])
    second = f" {rest // units[first + 1][0]} {units[first + 1][1]}" if first + 1 < len(units) else ""
    return f"{whole} {units[first][1]}{second}"
