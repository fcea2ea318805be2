"""The durable workflow: what happens to a complete study, step by step, surviving any crash.

One workflow per revision, `study/<Study Instance UID>/<digest>/<attempt>`; one per attempt to deliver it to one
destination, on that destination's own queue. Ids are derived, so that starting one twice starts it once. Checkpoints
hold UIDs and digests only.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dbos import DBOS, DBOSConfig, DBOSConfiguredInstance, SetEnqueueOptions, SetWorkflowID

from dicom_node.deliver import Delivery, ResultFile, send_results
from dicom_node.errors import AssociationError, describe_unforeseen
from dicom_node.result_sets import ResultSets
from dicom_node.settings import Destination, Settings
from dicom_node.store import DeliveryState, RevisionState, Store

_LOGGER = logging.getLogger(__name__)

_ANALYSIS_QUEUE = "analysis"
_POLLING_S = 0.2


@DBOS.dbos_class()
class StudyWorkflow(DBOSConfiguredInstance):
    """Takes a revision of a study from complete to delivered."""

    def __init__(self, settings: Settings, store: Store, result_sets: ResultSets) -> None:
        super().__init__(config_name="node")
        self._settings = settings
        self._store = store
        self._result_sets = result_sets
        self._destinations = {destination.name: destination for destination in settings.destinations}

    def start(self, study_instance_uid: str, digest: str, attempt: int) -> None:
        """Start the workflow of a revision; nothing happens where it was started before."""
        with SetWorkflowID(f"study/{study_instance_uid}/{digest}/{attempt}"):
            DBOS.enqueue_workflow(_ANALYSIS_QUEUE, self.process_revision, study_instance_uid, digest, attempt)

    @DBOS.workflow()
    def process_revision(self, study_instance_uid: str, digest: str, attempt: int) -> None:
        """Analyse a revision, encode its results, and start their delivery to every destination."""
        if self.make_results(study_instance_uid, digest):
            for name in self._destinations:
                self._start_delivery(study_instance_uid, digest, name, number=f"{attempt}.1")

    @DBOS.step()
    def make_results(self, study_instance_uid: str, digest: str) -> bool:
        """Analyse and encode; False where not even a "not analysed" report could be made."""
        self._store.set_revision_state(study_instance_uid, digest, RevisionState.ANALYSING)
        try:
            self._result_sets.make(study_instance_uid, digest)
        except Exception as error:  # noqa: BLE001  # the edge of a step: the study must show as failed, not vanish
            _LOGGER.error("no results for study %s: %s", study_instance_uid, describe_unforeseen(error))  # noqa: TRY400  # no texts of exceptions in logs
            reason = "no results could be made; see the log, then `dicom-node retry`"
            self._store.set_revision_state(study_instance_uid, digest, RevisionState.FAILED, reason=reason)
            return False
        self._store.set_revision_state(study_instance_uid, digest, RevisionState.DELIVERING)
        return True

    def _start_delivery(
        self, study_instance_uid: str, digest: str, name: str, *, number: str, delay_s: float | None = None
    ) -> None:
        workflow_id = f"deliver/{study_instance_uid}/{digest}/{name}/{number}"
        with SetWorkflowID(workflow_id), SetEnqueueOptions(delay_seconds=delay_s):
            DBOS.enqueue_workflow(
                _delivery_queue(name), self.deliver_revision, study_instance_uid, digest, name, number=number
            )

    @DBOS.workflow()
    def deliver_revision(self, study_instance_uid: str, digest: str, name: str, *, number: str) -> None:
        """Make one try to deliver; leave the next to a later workflow, so that waiting holds no place in the queue."""
        if self.send_pending(study_instance_uid, digest, name):
            return
        attempt, tries = number.split(".")
        delay_s = retry_delay_s(self._destinations[name], int(tries))
        self._start_delivery(study_instance_uid, digest, name, number=f"{attempt}.{int(tries) + 1}", delay_s=delay_s)

    @DBOS.step()
    def send_pending(self, study_instance_uid: str, digest: str, name: str) -> bool:
        """Send what this destination does not have yet; True when nothing is left to try."""
        pending = [
            ResultFile(
                sop_instance_uid=row.sop_instance_uid,
                sop_class_uid=row.sop_class_uid,
                path=self._settings.node.results_dir / row.path,
            )
            for row in self._store.pending_results(study_instance_uid, digest, name)
        ]
        finished = True
        for delivery in self._try_to_send(name, pending):
            self._store.record_delivery(name, delivery.sop_instance_uid, delivery.state, delivery.detail)
            _LOGGER.info("%s: %s %s %s", name, delivery.sop_instance_uid, delivery.state, delivery.detail)
            finished = finished and delivery.state is not DeliveryState.PENDING
        if finished:
            self._store.finish_revision(study_instance_uid, digest)
        return finished

    def _try_to_send(self, name: str, files: list[ResultFile]) -> list[Delivery]:
        if not files:
            return []
        state, detail = DeliveryState.REFUSED, "the destination is no longer configured"
        if name in self._destinations:
            try:
                return send_results(self._destinations[name], self._settings.node.ae_title, files)
            except AssociationError as error:
                state, detail = DeliveryState.PENDING, str(error)
        return [Delivery(sop_instance_uid=file.sop_instance_uid, state=state, detail=detail) for file in files]


def retry_delay_s(destination: Destination, number: int) -> float:
    """Seconds to wait after attempt `number` (from 1): doubled each time up to the longest."""
    return min(destination.retry_first_s * 2.0 ** min(number - 1, 32), destination.retry_longest_s)


def _delivery_queue(destination: str) -> str:
    return f"deliver-{destination}"


@contextmanager
def running_workflows(settings: Settings) -> Iterator[None]:
    """Run the workflow engine: recovers what a crash left behind, drains within the node's grace period on leaving.

    A `StudyWorkflow` must have been made before.
    """
    DBOS.launch()
    DBOS.register_queue(_ANALYSIS_QUEUE, worker_concurrency=1, polling_interval_sec=_POLLING_S)
    for destination in settings.destinations:
        # One queue a destination, so that a dead one delays none of the others.
        DBOS.register_queue(_delivery_queue(destination.name), worker_concurrency=2, polling_interval_sec=_POLLING_S)
    try:
        yield
    finally:
        DBOS.destroy(workflow_completion_timeout_sec=int(settings.node.grace_s))


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
