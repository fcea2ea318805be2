"""What a channel is told at one time: as text for people, and as JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Event(StrEnum):
    """What became of an alert."""

    RAISED = "raised"
    REPEATED = "repeated"
    """It still holds."""
    OVER = "over"
    TEST = "test"
    """Nothing is wrong: somebody tries the channel."""


@dataclass(frozen=True, kw_only=True)
class News:
    """One alert of a message."""

    event: Event
    kind: str
    subject: str
    says: str
    remedy: str = ""
    since: float | None = None
    """Unix time in seconds."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """All that is new since the last one."""

    node: str
    """AE title."""
    at: float
    """Unix time in seconds."""
    news: tuple[News, ...]

    @property
    def title(self) -> str:
        """One line: the node, and each alert by its kind."""
        said = [f"{one.kind}{f' ({one.subject})' if one.subject else ''} {one.event}" for one in self.news]
        return f"{self.node}: {', '.join(said)}"

    @property
    def text(self) -> str:
        """A paragraph for each alert, for people."""
        return "\n\n".join(_describe(one) for one in self.news)

    def to_json(self) -> dict[str, Any]:
        """Return what a webhook gets; `text` is what chat programs show."""
        alerts = [
            {
                "event": one.event,
                "kind": one.kind,
                "subject": one.subject,
                "says": one.says,
                "remedy": one.remedy,
                "since": _write_time(one.since),
            }
            for one in self.news
        ]
        return {"node": self.node, "at": _write_time(self.at), "text": f"{self.title}\n\n{self.text}", "alerts": alerts}


def _describe(one: News) -> str:
    since = "" if one.since is None else f" since {_write_time(one.since)}"
    lines = [f"{one.event.upper()}: {one.kind}", f"{one.says}{since}."]
    if one.remedy and one.event is not Event.OVER:
        lines.append(f"What to do: {one.remedy}")
    return "\n".join(lines)


def _write_time(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
