"""The worker process: completion ticks, the workflow, inference and delivery."""

import logging
import time

from apscheduler.schedulers.background import BackgroundScheduler
from inference.pipeline import Pipeline

from dicom_node.assemble.completeness import close_complete_studies
from dicom_node.errors import describe_unforeseen
from dicom_node.processes import hold_lock, wait_for_stop
from dicom_node.result_sets import ResultSets
from dicom_node.settings import Settings
from dicom_node.store import Store
from dicom_node.workflow import StudyWorkflow, configure_workflows, running_workflows

_LOGGER = logging.getLogger(__name__)


def run_worker(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code.

    Raises
    ------
    BundleError
        A model bundle is missing, altered or not as its manifest says.
    """
    # Two workers on one workflow database would both take up what a crash left behind.
    hold_lock(settings.node.data_dir / "worker.lock")
    store = Store(settings.database_url)
    pipeline = Pipeline.load(settings.models.bundles, runtime=settings.models.runtime, threads=settings.models.threads)
    destinations = tuple(destination.name for destination in settings.destinations)
    configure_workflows(settings)
    workflow = StudyWorkflow(settings, store, ResultSets(settings.node, store, pipeline, destinations))
    scheduler = BackgroundScheduler(timezone="UTC")

    def tick() -> None:
        try:
            sweep(store, workflow, settings)
        except Exception as error:  # noqa: BLE001  # the edge of the scheduler: a locked database must not end the ticks
            _LOGGER.error("completion sweep failed: %s", describe_unforeseen(error))  # noqa: TRY400  # no texts in logs

    scheduler.add_job(tick, "interval", seconds=settings.completion.sweep_s, max_instances=1, coalesce=True)
    with running_workflows(settings):
        scheduler.start()
        _LOGGER.info("worker ready, models: %s", ", ".join(f"{one.name} {one.version}" for one in pipeline.models))
        wait_for_stop()
        scheduler.shutdown()
    store.close()
    return 0


def sweep(store: Store, workflow: StudyWorkflow, settings: Settings) -> None:
    """Close what is complete and start its workflow. Idempotent."""
    close_complete_studies(store, settings.completion, time.time())
    for study_instance_uid, digest, attempt in store.queued_revisions():
        workflow.start(study_instance_uid, digest, attempt)
