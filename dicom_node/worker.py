"""The worker process: completion ticks, the workflow, inference and delivery."""

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from dicom_node.alerts.alerting import list_alerting
from dicom_node.alerts.receiver import ReceiverWatch
from dicom_node.analyse.caged_pipeline import CagedPipeline
from dicom_node.analyse.decoder import Decoder
from dicom_node.assemble.completeness import close_complete_studies
from dicom_node.audit import AuditTrail, running_application
from dicom_node.audit.forwarder import forwarding
from dicom_node.clock import ClockWatch
from dicom_node.deliver import LaterProof
from dicom_node.durable import PRIVATE_FILE, remove_partial_files
from dicom_node.encode.sop_classes import list_profiles
from dicom_node.errors import describe_unforeseen
from dicom_node.processes import hold_lock, install_stop_signals
from dicom_node.query.asking import Asking
from dicom_node.query.reconciliation import Reconciliation, longest_wait_s
from dicom_node.recovery_marks import RecoveryMarks
from dicom_node.result_sets import ResultSets
from dicom_node.retention import Retention
from dicom_node.settings import Settings
from dicom_node.store import Store
from dicom_node.tls import check_files_of
from dicom_node.workflow import StudyWorkflow, configure_workflows, running_workflows

_SWEEP = "sweep"
_EVERY_TICK: dict[str, Any] = {"trigger": "interval", "max_instances": 1, "coalesce": True, "misfire_grace_time": None}
"""Of a job: however late a tick is on a busy machine, it is not left out."""
_LOGGER = logging.getLogger(__name__)


def run_worker(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; does not return when it has begun to work, but ends the process with code 0.

    Raises
    ------
    BundleError
        A model bundle is missing, altered or not as its manifest says.
    ConfigurationError
        The files of `[tls]` cannot be used.
    ChildProcessError
        The processes that decode and run the models cannot be started.
    """
    check_files_of(settings.archives_by_name.values())
    stop = install_stop_signals()
    # Two workers on one workflow database would both take up what a crash left behind.
    if not hold_lock(settings.node.data_dir / "worker.lock", stop):
        return 0
    remove_partial_files(settings.node.results_dir)
    store = Store(settings.database_url)
    decoder, pipeline = _start_processes(settings, stop)
    configure_workflows(settings)
    results = ResultSets(
        settings.node,
        store,
        pipeline,
        {destination.name: destination.results for destination in settings.destinations},
        languages={name: profile.language for name, profile in list_profiles(settings).items()},
        policy=settings.models.when_header_disagrees,
        decode=decoder,
        analysis=settings.analysis,
        reject_superseded=settings.results.reject_superseded,
        rules=settings.rules,
    )
    line, archives = schedule_line(settings, store, results), schedule_questions(settings, store)
    alerts = schedule_alerts(settings, store)
    trail = AuditTrail(settings.node.audit_dir, settings.node.ae_title)
    with forwarding(trail, settings.audit), running_application(trail, "worker"), running_workflows(settings):
        line.start()
        archives.start()
        alerts.start()
        _LOGGER.info("worker ready, models: %s", ", ".join(f"{one.name} {one.version}" for one in pipeline.models))
        keep_time(stop, (line, archives, alerts))
        for scheduler in (archives, alerts):
            scheduler.shutdown(wait=False)  # it may be waiting for a silent archive or mail server
        line.shutdown()
    logging.shutdown()
    # The interpreter would wait for threads that wait for a silent archive, however long. What they do is
    # checkpointed: the next start goes on with it.
    os._exit(0)


def keep_time(stop: threading.Event, schedulers: Sequence[BackgroundScheduler]) -> None:
    """Block until `stop`; where the wall clock is set meanwhile, let every job run at once.

    The times of jobs are the wall clock's: after an hour back, nothing would be done for an hour.
    """
    clock = ClockWatch()
    while not stop.wait(1):
        if clock.step()[0]:
            for job in [job for scheduler in schedulers for job in scheduler.get_jobs()]:
                job.modify(next_run_time=datetime.now(UTC))


class Tidying:
    """A rare tick of the scheduler: remove and forget what is no longer needed."""

    def __init__(self, settings: Settings, store: Store, workflow: StudyWorkflow) -> None:
        self._believed = settings.believed_destinations
        self._retention = Retention(settings.retention, settings.node, store, believed=self._believed)
        self._store = store
        self._workflow = workflow

    def __call__(self) -> None:
        """Tidy up. Idempotent."""
        now = time.time()
        try:
            self._store.release_notes(believed=self._believed)  # first: what is open keeps its files
            self._retention.remove_files(now)
            if (before := self._retention.records_before(now)) is not None:
                self._store.forget_records(before)
                self._workflow.forget_ended(before)
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: the next tick finds the same to do
            _LOGGER.error("retention failed: %s", describe_unforeseen(error))  # noqa: TRY400  # no texts in logs


def schedule_line(settings: Settings, store: Store, results: ResultSets) -> BackgroundScheduler:
    """Schedule what moves studies along the line, and what tidies up behind them."""
    scheduler = BackgroundScheduler(timezone="UTC")

    def wake() -> None:
        with suppress(JobLookupError):  # the scheduler has stopped: so will everything
            scheduler.modify_job(_SWEEP, next_run_time=datetime.now(UTC))

    workflow = StudyWorkflow(settings, store, results, wake=wake)
    scheduler.add_job(Sweep(settings, store, workflow), seconds=settings.completion.sweep_s, id=_SWEEP, **_EVERY_TICK)
    scheduler.add_job(Tidying(settings, store, workflow), **_rarely(settings))
    return scheduler


def _rarely(settings: Settings) -> dict[str, Any]:
    """Say when what is done now and then is done: not while the node starts, and not an hour after it either."""
    every_s = settings.retention.every_s
    soon = datetime.now(UTC) + timedelta(seconds=min(every_s, 60))
    return {"seconds": every_s, "next_run_time": soon, **_EVERY_TICK}


def schedule_questions(settings: Settings, store: Store) -> BackgroundScheduler:
    """Schedule what archives are asked, each by itself: a silent one delays neither the others nor the sweep."""
    archives = settings.archives_by_name
    scheduler = BackgroundScheduler(timezone="UTC", executors={"default": ThreadPoolExecutor(3 * len(archives))})
    for name in sorted(set(settings.archives_by_sender.values())):
        asking = Asking(settings, store, archives[name])
        scheduler.add_job(asking, seconds=settings.completion.sweep_s, **_EVERY_TICK)
    for destination in settings.destinations:
        scheduler.add_job(LaterProof(destination, settings.node.ae_title, store), **_rarely(settings))
    if (reconcile := settings.reconcile) is not None:
        for name in reconcile.archives:
            search = Reconciliation(settings, reconcile, store, archives[name])
            scheduler.add_job(search, seconds=reconcile.every_s, next_run_time=datetime.now(UTC), **_EVERY_TICK)
    return scheduler


def schedule_alerts(settings: Settings, store: Store) -> BackgroundScheduler:
    """Schedule what the receiver is asked and each channel told, each by itself: a dead one delays nothing else."""
    ticks = (ReceiverWatch(settings), *list_alerting(settings, store))
    scheduler = BackgroundScheduler(timezone="UTC", executors={"default": ThreadPoolExecutor(len(ticks))})
    for tick in ticks:
        scheduler.add_job(tick, seconds=settings.alerts.every_s, **_EVERY_TICK)
    return scheduler


def _start_processes(settings: Settings, stop: threading.Event) -> tuple[Decoder, CagedPipeline]:
    """Start what decodes and what runs the models; a stop meanwhile ends this process, which has nothing in hand."""
    started = threading.Event()

    def leave() -> None:
        stop.wait()
        if not started.is_set():
            os._exit(0)

    threading.Thread(target=leave, name="early stop", daemon=True).start()
    decoder, pipeline = Decoder(settings.analysis), CagedPipeline(settings.models, settings.analysis)
    decoder.wait_until_ready()
    started.set()
    return decoder, pipeline


class Sweep:
    """One tick of the scheduler: close what is complete, start what is due, show that the worker lives."""

    def __init__(self, settings: Settings, store: Store, workflow: StudyWorkflow) -> None:
        self._settings = settings
        self._store = store
        self._workflow = workflow
        self._trail = AuditTrail(settings.node.audit_dir, settings.node.ae_title)
        self._recovery = RecoveryMarks(settings.node.spool_dir)
        self._clock = ClockWatch()
        self._has_begun = False
        self._listening_since = time.time()

    def __call__(self) -> None:
        """Sweep. Idempotent."""
        try:
            if not self._has_begun:
                self._leave_future()
            self._follow_clock()
            now = time.time()
            completion = self._settings.completion
            close_complete_studies(
                self._store,
                completion,
                now,
                listening_since=self._listening_since,
                asked_senders=self._settings.archives_by_sender,
                may_lack_rows=lambda: self._recovery.is_any_set,
            )
            self._workflow.start_due(now)
            self._trail.sync()
            self._settings.node.heartbeat.touch(mode=PRIVATE_FILE)
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: a locked database must not end the ticks
            _LOGGER.error("the sweep failed: %s", describe_unforeseen(error))  # noqa: TRY400  # no texts in logs

    def _leave_future(self) -> None:
        """Follow a clock that was set before there was a worker: the receiver may have begun with a wrong one."""
        settings = self._settings
        tries = [max(one.retry_longest_s, one.commitment_deadline_s) for one in settings.destinations]
        fetches_s = longest_wait_s(settings.reconcile) if settings.reconcile else 0.0
        self._store.leave_future(time.time(), tries_within_s=max(tries, default=0.0), fetches_within_s=fetches_s)
        self._has_begun = True

    def _follow_clock(self) -> None:
        """Let no study close early, or wait for hours, because the wall clock was set."""
        step_s, within_s = self._clock.step()
        if step_s:
            _LOGGER.warning("the clock was set by %+.0f s: the times of open studies follow", step_s)
            self._listening_since += step_s
            self._store.follow_clock(step_s, time.time(), within_s)
