"""The durable workflow: what happens to a complete study, step by step, surviving any crash.

A workflow for each attempt to make a revision's results, `study/<Study Instance UID>/<digest>/<attempt>`, and one for
each try to deliver them, `deliver/<Study Instance UID>/<digest>/<destination>/<try>/<drawn>`, on that destination's own
queue. The store says what is still to be done; the engine says what is under way; `start_due` starts the difference. So
whatever ends a workflow early (a crash too many, a full disk, a lost database), the next sweep begins another.
Checkpoints hold UIDs and digests only.
"""

import logging
import math
import random
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from dbos import DBOS, DBOSClient, DBOSConfig, DBOSConfiguredInstance, SetEnqueueOptions, SetWorkflowID
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from dicom_node.deliver import Prover, send_pending
from dicom_node.errors import describe_unforeseen
from dicom_node.result_sets import ResultSets, describe_exclusion
from dicom_node.settings import ROUTINE, Destination, Settings
from dicom_node.store import DueDelivery, RevisionState, Store, UnmadeRevision
from inference.phrases import Phrase

_LOGGER = logging.getLogger(__name__)

_ANALYSIS_QUEUE = "analysis"
_POLLING_S = 0.2
_UNDER_WAY = ["PENDING", "ENQUEUED", "DELAYED"]
_TOO_MANY_CRASHES = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", _TOO_MANY_CRASHES]
_FORGOTTEN_AT_ONCE = 500


@DBOS.dbos_class()
class StudyWorkflow(DBOSConfiguredInstance):
    """Takes revisions of studies from complete to delivered."""

    def __init__(
        self, settings: Settings, store: Store, result_sets: ResultSets, *, wake: Callable[[], None] = lambda: None
    ) -> None:
        """`wake` is called when there may be something to start before the next sweep."""
        super().__init__(config_name="node")
        self._settings = settings
        self._store = store
        self._result_sets = result_sets
        self._wake = wake
        self._destinations = {destination.name: destination for destination in settings.destinations}

    def start_due(self, now: float) -> None:
        """Start what is to be done and not under way; `now` is Unix time in seconds. Idempotent."""
        self._store.finish_delivered(believed=self._settings.believed_destinations)
        unmade, due = self._store.unmade_revisions(), self._store.due_deliveries(now)
        if not unmade and not due:
            return
        workflows = DBOS.list_workflows(status=_UNDER_WAY, load_input=False, load_output=False)
        under_way = {workflow.workflow_id for workflow in workflows}
        delivering = {_delivery_of(workflow_id) for workflow_id in under_way}
        for revision in _first_of_each_study(unmade):
            if _revision_id(revision) not in under_way:
                self._start_revision(revision, now)
        for delivery in due:
            if _delivery(delivery) not in delivering:
                self._start_delivery(delivery, now)

    def forget_ended(self, before: float) -> int:
        """Delete the checkpoints of workflows that ended before a Unix time in seconds; return of how many.

        Not of attempts at revisions that have no results yet: the next attempt asks how they ended.
        """
        until = datetime.fromtimestamp(before, UTC).isoformat()
        needed = {_revision_id(revision) for revision in self._store.unmade_revisions()}
        forgotten = 0
        while True:
            ended = DBOS.list_workflows(
                status=_ENDED, completed_before=until, limit=_FORGOTTEN_AT_ONCE, load_input=False, load_output=False
            )
            uids = [workflow.workflow_id for workflow in ended if workflow.workflow_id not in needed]
            if not uids:
                return forgotten
            DBOS.delete_workflows(uids)
            forgotten += len(uids)

    # Make

    def _start_revision(self, revision: UnmadeRevision, now: float) -> None:
        ended = DBOS.get_workflow_status(_revision_id(revision))
        if ended is not None:
            if now < revision.changed_at + min(2.0**revision.attempt, 60):
                return  # it ended by a fault such as a full disk: not again at once
            revision = self._store.begin_attempt(revision)
        priority = ROUTINE
        if self._settings.rules:
            priority = self._result_sets.find_priority(revision.study_instance_uid, revision.digest)
        with SetWorkflowID(_revision_id(revision)), SetEnqueueOptions(priority=priority):
            DBOS.enqueue_workflow(_ANALYSIS_QUEUE, self.process_revision, revision.study_instance_uid, revision.digest)

    @DBOS.workflow(max_recovery_attempts=None)  # it counts them itself
    def process_revision(self, study_instance_uid: str, digest: str) -> None:
        """Analyse a revision and encode its results."""
        self.make_results(study_instance_uid, digest)

    @DBOS.step()
    def make_results(self, study_instance_uid: str, digest: str) -> None:
        """Analyse and encode; a revision for which not even a "not analysed" report can be made fails visibly.

        A study that has taken the worker down too often gets that report without being opened; one that takes it down
        even so is left to an operator, for no other study would get its turn.
        """
        newer = self._store.superseding_version(study_instance_uid, digest)
        if newer is not None:
            reason: str = Phrase(
                "version {version}, which holds all its images, was made before it and is the one to go by",
                version=newer,
            )
            self._store.set_revision_state(study_instance_uid, digest, RevisionState.SUPERSEDED, reason=reason)
            return
        self._store.set_revision_state(study_instance_uid, digest, RevisionState.ANALYSING)
        state, reason = RevisionState.DELIVERING, ""
        crashes, most = _count_crashes(), self._settings.analysis.crashes_per_study
        if crashes >= 2 * most:
            reason = Phrase(
                "the worker stopped each time it worked on this study; see the log, then `dicom-node retry`"
            )
            self._store.set_revision_state(study_instance_uid, digest, RevisionState.FAILED, reason=reason)
            return
        try:
            rule = self._result_sets.make(study_instance_uid, digest, cautious=crashes >= most)
            if rule is not None:
                state, reason = RevisionState.EXCLUDED, describe_exclusion(rule)
        except Exception as error:  # the edge of a step: the study must show as failed, not vanish
            # A full disk, a locked database: a later attempt finds them mended. Results that contradict the rows that
            # are there would do so at every attempt, and no later version of the study would get its turn.
            if isinstance(error, OSError | SQLAlchemyError) and not isinstance(error, IntegrityError):
                raise
            _LOGGER.error("no results for study %s: %s", study_instance_uid, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
            state = RevisionState.FAILED
            reason = Phrase("no results could be made; see the log, then `dicom-node retry`")
        self._store.set_revision_state(study_instance_uid, digest, state, reason=reason)
        self._wake()

    # Deliver

    def _start_delivery(self, due: DueDelivery, now: float) -> None:
        destination = self._destinations.get(due.destination)
        if destination is None:
            self._store.park_open(due, Phrase("the destination is no longer configured"))
            return
        begun = self._store.begin_try(due, now + retry_delay_s(destination, due.tries + 1))
        if begun is None:
            return
        # Drawn: after the node's database was lost, or put back from a backup, the engine knows workflows of these
        # numbers, and would run none of them again. That no try is begun twice is for the store to say.
        with SetWorkflowID(f"{_delivery(begun)}/{begun.tries}/{uuid.uuid4().hex}"):
            DBOS.enqueue_workflow(
                _delivery_queue(begun.destination),
                self.deliver_revision,
                begun.study_instance_uid,
                begun.digest,
                begun.destination,
            )

    @DBOS.workflow()
    def deliver_revision(self, study_instance_uid: str, digest: str, name: str) -> None:
        """Make one try to deliver and prove; the next, if need be, is a later workflow: waiting holds no place."""
        self.send_pending(study_instance_uid, digest, name)
        self.prove_sent(study_instance_uid, digest, name)

    @DBOS.step()
    def send_pending(self, study_instance_uid: str, digest: str, name: str) -> None:
        """Send what this destination does not have yet, and record each answer."""
        due = DueDelivery(study_instance_uid=study_instance_uid, digest=digest, destination=name, tries=0)
        send_pending(self._destinations[name], self._settings.node, self._store, due)

    @DBOS.step()
    def prove_sent(self, study_instance_uid: str, digest: str, name: str) -> None:
        """Ask this destination for the proof that it keeps what it was sent, and record it."""
        due = DueDelivery(study_instance_uid=study_instance_uid, digest=digest, destination=name, tries=0)
        try:
            Prover(self._destinations[name], self._settings.node, self._store, due).prove()
        except Exception as error:  # noqa: BLE001  # the edge of a step: whatever it was, it is tried again
            _LOGGER.error("%s: nothing could be proven: %s", name, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
        self._wake()


def retry_delay_s(destination: Destination, number: int) -> float:
    """Draw the seconds between the beginnings of try `number` (from 1) and the next: doubled up to the longest."""
    longest = min(destination.retry_first_s * 2.0 ** min(number - 1, 32), destination.retry_longest_s)
    # Spread, so that studies that failed together do not come back together.
    return longest * random.uniform(0.75, 1)  # noqa: S311  # nothing secret about it


def _count_crashes() -> int:
    """Count how often the present workflow was begun before, and ended with its process."""
    status = DBOS.get_workflow_status(str(DBOS.workflow_id))
    return (status.recovery_attempts or 1) - 1 if status else 0


def _first_of_each_study(unmade: Sequence[UnmadeRevision]) -> list[UnmadeRevision]:
    """Let a version wait for the one before it: made first, it would not know what it supersedes."""
    first: dict[str, UnmadeRevision] = {}
    for revision in unmade:
        first.setdefault(revision.study_instance_uid, revision)
    return list(first.values())


def _revision_id(revision: UnmadeRevision) -> str:
    return f"study/{revision.study_instance_uid}/{revision.digest}/{revision.attempt}"


def _delivery(due: DueDelivery) -> str:
    return f"deliver/{due.study_instance_uid}/{due.digest}/{due.destination}"


def _delivery_of(workflow_id: str) -> str:
    """Return what the ids of all tries of a delivery begin with; earlier releases ended them with the try's number."""
    return "/".join(workflow_id.split("/")[:4])


def _delivery_queue(destination: str) -> str:
    return f"deliver-{destination}"


@contextmanager
def running_workflows(settings: Settings) -> Iterator[None]:
    """Run the workflow engine: recovers what a crash left behind, drains within the node's grace period on leaving.

    An analysis that takes longer than that ends there, and the next start makes another attempt. A `StudyWorkflow` must
    have been made before.
    """
    DBOS.launch()
    DBOS.register_queue(_ANALYSIS_QUEUE, worker_concurrency=1, polling_interval_sec=_POLLING_S)
    for destination in settings.destinations:
        # One queue a destination, so that a dead one delays none of the others.
        DBOS.register_queue(_delivery_queue(destination.name), worker_concurrency=2, polling_interval_sec=_POLLING_S)
    try:
        yield
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=math.ceil(settings.node.grace_s))
        _end_analyses(settings)


def _end_analyses(settings: Settings) -> None:
    """End what is still analysed when the node stops in order: taken up again, it would count as a crash."""
    # It connects when it is asked, and waits for no database that is away: the end is near.
    engine = DBOSClient(system_database_url=settings.workflow_url, lazy=True, retry_connection_errors=False)
    try:
        begun = engine.list_workflows(status="PENDING", queue_name=_ANALYSIS_QUEUE, load_input=False, load_output=False)
        engine.cancel_workflows([workflow.workflow_id for workflow in begun])
    except SQLAlchemyError as error:
        _LOGGER.warning("what was analysed will count as a crash of its study: %s", type(error).__name__)
    finally:
        engine.destroy()


def configure_workflows(settings: Settings) -> None:
    """Prepare the workflow engine on the node's workflow database."""
    DBOS(
        config=DBOSConfig(
            name="dicom-node",
            system_database_url=settings.workflow_url,
            # Pinned, not derived from the source: an upgrade of the node must go on with the studies in flight.
            application_version="1",
            executor_id="worker",
            log_level="WARNING",
        )
    )
