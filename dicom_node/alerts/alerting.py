"""Tell a channel what is new: raised once, repeated now and then, and over. Idempotent, and each channel by itself.

What a channel was told is recorded after it took the message. So what a dead one misses is told when it is back, a
restart repeats nothing, and a crash in between repeats one message.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from dicom_node.alerts.channels import Channel, LogChannel, build_channels
from dicom_node.alerts.conditions import Condition, find_conditions, find_silence
from dicom_node.alerts.message import Event, Message, News
from dicom_node.alerts.receiver import ReceiverWatch
from dicom_node.errors import AlertError, describe_unforeseen
from dicom_node.settings import AlertSettings, Settings
from dicom_node.statistics.drift import Seldom
from dicom_node.store import AlertKey, Store, ToldAlert

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to tell, and what is to be recorded: some at once, the rest when it was told."""

    news: tuple[News, ...]
    noticed: tuple[ToldAlert, ...]
    """Rows that change whether or not the message arrives: when something was first found to be over, or not to be."""
    told: tuple[ToldAlert, ...]
    over: tuple[AlertKey, ...]


def plan(
    known: Mapping[AlertKey, ToldAlert], conditions: Sequence[Condition], now: float, settings: AlertSettings
) -> Plan:
    """Compare what a channel was told with what is wrong at Unix time `now`, in seconds."""
    news, noticed, told = [], [], []
    for condition in conditions:
        row = known.get(condition.key)
        if row is not None and row.gone_at is not None:
            row = replace(row, gone_at=None)
            noticed.append(row)
        if row is None or 0 < settings.repeat_hours * 3600 <= now - row.told_at:
            event = Event.RAISED if row is None else Event.REPEATED
            since = row.since if row else condition.since or now
            news.append(_tell(event, condition, since))
            kind, subject = condition.key
            told.append(ToldAlert(kind=kind, subject=subject, says=condition.says, since=since, told_at=now))
    wrong = {condition.key for condition in conditions}
    over = []
    for row in (row for key, row in known.items() if key not in wrong):
        if row.gone_at is None:
            noticed.append(replace(row, gone_at=now))
        elif now - row.gone_at >= settings.settle_s:
            news.append(News(event=Event.OVER, kind=row.kind, subject=row.subject, says=row.says, since=row.since))
            over.append(row.key)
    return Plan(news=tuple(news), noticed=tuple(noticed), told=tuple(told), over=tuple(over))


def _tell(event: Event, condition: Condition, since: float) -> News:
    kind, subject = condition.key
    return News(event=event, kind=kind, subject=subject, says=condition.says, remedy=condition.remedy, since=since)


class Alerting:
    """A tick of the scheduler for one channel."""

    def __init__(self, settings: Settings, store: Store, channel: Channel) -> None:
        self._assess = Seldom()
        self._settings = settings
        self._store = store
        self._channel = channel
        self._problem = ""

    def __call__(self) -> None:
        """Look, and tell what is new. Idempotent."""
        try:
            self._tell(time.time())
            self._problem = ""
        except AlertError as error:
            if str(error) != self._problem:  # once, not at every tick
                _LOGGER.warning("an alert was not taken, and will be told again: %s", error)
            self._problem = str(error)
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: the next tick finds the same to do
            _LOGGER.error("alerts failed: %s", describe_unforeseen(error))  # noqa: TRY400  # no texts in logs

    def _tell(self, now: float) -> None:
        name = self._channel.name
        conditions = find_conditions(self._settings, self._store, now, assess=self._assess)
        todo = plan(self._store.told_alerts(name), conditions, now, self._settings.alerts)
        if todo.noticed:
            self._store.record_told(name, todo.noticed)
        if todo.news:
            self._channel.tell(Message(node=self._settings.node.ae_title, at=now, news=todo.news))
            self._store.record_told(name, todo.told, todo.over)


def list_alerting(settings: Settings, store: Store) -> tuple[Alerting, ...]:
    """Make the tick of each channel, the log's included."""
    return tuple(Alerting(settings, store, channel) for channel in (LogChannel(), *build_channels(settings.alerts)))


@contextmanager
def watching_worker(settings: Settings, store: Store) -> Iterator[None]:
    """Tell of a worker that is silent, from a process beside it; while it is not, it tells everything itself.

    What it would have asked the receiver is asked from here meanwhile.
    """
    stop = threading.Event()
    ticks: tuple[Callable[[], None], ...] = (ReceiverWatch(settings), *list_alerting(settings, store))

    def watch() -> None:
        while not stop.wait(settings.alerts.every_s):
            if any(find_silence(settings, store, time.time())):
                for tick in ticks:
                    tick()

    threading.Thread(target=watch, name="worker watch", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def send_test(settings: Settings, channel: Channel) -> None:
    """Send a message that says it is a test; raises `AlertError` where it was not taken."""
    news = News(event=Event.TEST, kind="test", subject="", says="nothing is wrong: this is a test of the node's alerts")
    channel.tell(Message(node=settings.node.ae_title, at=time.time(), news=(news,)))
