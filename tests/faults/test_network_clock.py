"""The wall clock is set while studies are open."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from stored_rows import build_row

from dicom_node.assemble.completeness import is_complete
from dicom_node.clock import ClockWatch
from dicom_node.settings import CompletionSettings, Destination, NodeSettings, ReconcileSettings, Sender, Settings
from dicom_node.store import OpenStudy, Retrieval, Store, StoredResult
from dicom_node.worker import Sweep, keep_time
from dicom_node.workflow import StudyWorkflow

pytestmark = pytest.mark.fault(24)

COMPLETION = CompletionSettings(quiet_s=10, max_wait_s=900)
NOON = 1_800_000_000.0


def receive(store: Store, number: int, at: float) -> None:
    row = build_row(f"1.2.{number}", "1.9", received_at=at)
    store.add_instances([row])


def plan_result(store: Store, study: str, at: float) -> None:
    """Have a study complete at a time, with a result that an archive is to get."""
    store.add_instances([build_row(f"{study}.1", study, received_at=at)])
    store.close_revision(study, at)
    (unmade,) = store.unmade_revisions()
    result = StoredResult(
        sop_instance_uid="1.5", sop_class_uid="1.2", series_instance_uid="1.6", kind="encapsulated pdf", path="1.5.dcm"
    )
    store.add_results(study, unmade.digest, [result], [], ["archive"])


def closes(study: OpenStudy, now: float) -> bool:
    return is_complete(study, COMPLETION, now, listening_since=0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path / 'node.sqlite'}")


@pytest.mark.parametrize("step_s", [3600, -3600])
@pytest.mark.parametrize("has_more_come", [False, True])
def test_a_study_closes_after_its_quiet_period_although_the_clock_was_set(
    store: Store, step_s: float, has_more_come: bool
) -> None:
    """An hour forward closes no study early, an hour back leaves none open for an hour."""
    receive(store, 1, NOON)
    receive(store, 2, NOON + 3)
    (unaware,) = store.open_studies()
    # Set at 12:00:05; noticed a second later, when perhaps one more image has come.
    if has_more_come:
        receive(store, 3, NOON + step_s + 5.5)
    now = NOON + step_s + 6
    store.follow_clock(step_s, now, within_s=1)
    (study,) = store.open_studies()
    last = NOON + step_s + (5.5 if has_more_come else 3)
    assert (study.first_open_at, study.last_received_at) == (NOON + step_s, pytest.approx(last, abs=3))
    assert not closes(study, study.last_received_at + 9)
    assert closes(study, study.last_received_at + 10)
    # Without following, the study closes at once, or only an hour later.
    assert closes(unaware, now) is (step_s > 0)
    assert closes(unaware, now + 20) is (step_s > 0)
    store.close()


def test_a_study_of_before_the_start_closes_although_the_clock_began_in_the_past(store: Store) -> None:
    """A machine without a clock of its own starts years back, and is set right when it has found a time server."""
    step_s = 5 * 365 * 86_400
    receive(store, 1, NOON)
    now = NOON + 60
    store.follow_clock(step_s, now, within_s=1)
    (study,) = store.open_studies()
    assert (study.first_open_at, study.last_received_at) == (NOON, NOON)
    assert closes(study, now)


def test_nothing_waits_for_a_time_of_a_clock_that_was_ahead_before_the_worker_started(tmp_path: Path) -> None:
    """The receiver is there first, and the clock may be set before there is a worker that sees it."""
    settings = Settings(
        node=NodeSettings(ae_title="NODE", data_dir=tmp_path),
        senders=(Sender(ae_title="PACS"),),
        destinations=(Destination(name="archive", ae_title="A", host="127.0.0.1", port=104),),
        reconcile=ReconcileSettings(archives=("archive",)),
    )
    store, ahead = Store(settings.database_url), time.time() + 365 * 86_400
    receive(store, 1, ahead)
    store.record_listing("1.9", "archive", [], asked_at=ahead + 1)
    fetch = Retrieval(archive="archive", study_instance_uid="1.9", related_instances=1, is_whole=False)
    store.record_retrieval(replace(fetch, next_try_at=ahead + 600))
    plan_result(store, "1.8", ahead)
    (due,) = store.due_deliveries(ahead)
    store.begin_try(due, ahead + 600)
    sweep = Sweep(settings, store, cast("StudyWorkflow", SimpleNamespace(start_due=lambda _now: None)))
    sweep()
    now = time.time()
    (study,) = store.open_studies()
    assert study.asked_at is None
    assert closes(study, now + 20)
    assert store.due_deliveries(now)
    fetching = store.find_retrieval("archive", "1.9")
    assert fetching
    assert fetching.next_try_at <= now
    assert all(one.changed_at <= now for one in store.unmade_revisions())
    # What is put off in good order stays so.
    (due,) = store.due_deliveries(now)
    store.begin_try(due, now + 500)
    Sweep(settings, store, cast("StudyWorkflow", SimpleNamespace(start_due=lambda _now: None)))()
    assert not store.due_deliveries(now + 400)
    store.close()


@pytest.mark.parametrize("step_s", [3600, -3600])
def test_a_step_is_noticed_once_and_the_passing_of_time_is_none(monkeypatch: pytest.MonkeyPatch, step_s: float) -> None:
    watch, clock = ClockWatch(), time.time
    assert watch.step()[0] == 0
    monkeypatch.setattr(time, "time", lambda: clock() + step_s)
    noticed, ago = watch.step()
    assert noticed == pytest.approx(step_s, abs=5)
    assert 0 <= ago < 60
    assert watch.step()[0] == 0


def test_a_sweep_after_an_hour_s_step_leaves_a_study_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's next sweep follows the clock before it looks for what is complete."""
    settings = Settings(
        node=NodeSettings(ae_title="NODE", data_dir=tmp_path),
        senders=(Sender(ae_title="PACS"),),
        destinations=(Destination(name="archive", ae_title="A", host="127.0.0.1", port=104),),
        completion=CompletionSettings(quiet_s=600, max_wait_s=900),
    )
    store, clock = Store(settings.database_url), time.time
    sweep = Sweep(settings, store, cast("StudyWorkflow", SimpleNamespace(start_due=lambda _now: None)))
    receive(store, 1, clock())
    monkeypatch.setattr(time, "time", lambda: clock() + 3600)
    sweep()
    (study,) = store.open_studies()
    assert study.last_received_at == pytest.approx(clock() + 3600, abs=120)
    store.close()


def test_a_delivery_is_tried_again_on_time_although_the_clock_was_set_back(store: Store) -> None:
    """An hour back puts off no retry by an hour: of a delivery, of a fetch, or of an attempt at results."""
    plan_result(store, "1.9", NOON)
    (due,) = store.due_deliveries(time.time())
    store.begin_try(due, NOON + 600)
    store.record_retrieval(
        Retrieval(
            archive="archive", study_instance_uid="1.9", related_instances=1, is_whole=False, next_try_at=NOON + 600
        )
    )
    now = NOON - 3599
    store.follow_clock(-3600, now, within_s=1)
    assert store.due_deliveries(now) == []
    assert store.due_deliveries(now + 600)
    fetching = store.find_retrieval("archive", "1.9")
    assert fetching
    assert fetching.next_try_at == NOON - 3000
    assert store.unmade_revisions()[0].changed_at == NOON - 3600
    store.close()


def set_back_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the wall clock back for the node and for its scheduler."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(clock() - 3600, tz)

    clock = time.time
    monkeypatch.setattr(time, "time", lambda: clock() - 3600)
    for module in ("apscheduler.schedulers.base", "apscheduler.executors.base", "dicom_node.worker"):
        monkeypatch.setattr(f"{module}.datetime", Clock)


def holds_within(seconds: float, condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.parametrize("is_kept", [True, False])
def test_jobs_go_on_when_the_clock_is_set_back_an_hour(monkeypatch: pytest.MonkeyPatch, *, is_kept: bool) -> None:
    """The worker sweeps on when the clock is set back an hour; left alone, its scheduler stops for that hour."""
    ticks: list[float] = []
    scheduler, stop = BackgroundScheduler(timezone="UTC"), threading.Event()
    soon = datetime.now(UTC) + timedelta(seconds=0.1)
    scheduler.add_job(
        lambda: ticks.append(time.monotonic()), "interval", seconds=0.2, next_run_time=soon, misfire_grace_time=None
    )
    keeper = threading.Thread(target=keep_time, args=(stop, [scheduler] if is_kept else []))
    scheduler.start()
    keeper.start()
    try:
        assert holds_within(60, lambda: len(ticks) > 1)
        set_back_an_hour(monkeypatch)
        time.sleep(1)  # a tick that is under way ends
        before = len(ticks)
        assert holds_within(60 if is_kept else 3, lambda: len(ticks) > before + 2) is is_kept
    finally:
        stop.set()
        keeper.join()
        scheduler.shutdown()
