"""`/metrics` for Prometheus: what waits, how long things take, what fails. No names but those of the configuration."""

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from dicom_node import __version__
from dicom_node.alerts.conditions import Kind, find_conditions
from dicom_node.audit import AuditTrail
from dicom_node.audit.refusals import RefusalCounter
from dicom_node.settings import Settings
from dicom_node.statistics.drift import Seldom
from dicom_node.store import Durations, Store
from inference.bundle import read_bundles
from inference.errors import BundleError

LIMITS_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 86_400)
"""Upper limits of the histograms' buckets, seconds."""


def build_metrics(settings: Settings, store: Store) -> APIRouter:
    """Build the route `/metrics`: text as Prometheus or OpenMetrics wants it."""
    registry = CollectorRegistry()
    registry.register(NodeCollector(settings, store))
    router = APIRouter()

    @router.get("/metrics", include_in_schema=False)
    def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(registry), media_type=content_type)

    return router


class NodeCollector(Collector):
    """Asks the store at each scrape; keeps nothing but how many objects were refused since it was made."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._refusals = RefusalCounter(AuditTrail(settings.node.audit_dir, settings.node.ae_title))
        self._assess = Seldom()
        self._lock = threading.Lock()

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: the registry would scrape to find the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Measure; one scrape at a time."""
        with self._lock:
            now = time.time()
            yield from self._measure_line(now)
            yield from self._measure_deliveries(now)
            yield from self._measure_refusals()
            yield from self._measure_machine(now)
            yield from self._name_models()
            yield from self._count_alarms(now)

    def _count_alarms(self, now: float) -> Iterator[Metric]:
        """Say of every kind of alarm how many there are: 0 is a statement, too."""
        alarms = GaugeMetricFamily("dicom_node_alarms", "What `dicom-node alerts` shows.", labels=["kind"])
        kinds = Counter(one.kind for one in find_conditions(self._settings, self._store, now, assess=self._assess))
        for kind in Kind:
            alarms.add_metric([kind], kinds[kind])
        yield alarms
        psi = GaugeMetricFamily(
            "dicom_node_drift_psi",
            "Population stability index against the bundle's reference, where enough studies tell it from chance.",
            labels=["model", "what"],
        )
        for drift in self._assess(self._settings, self._store, now):
            if drift.comparison is not None and drift.comparison.is_trusted:
                psi.add_metric([drift.model, drift.what], drift.comparison.psi)
        yield psi

    def _measure_line(self, now: float) -> Iterator[Metric]:
        waiting = self._store.waiting_studies()
        yield _gauge("studies_waiting", "Studies that wait for more images.", waiting.count)
        yield _gauge("oldest_open_study_seconds", "Since its first image; 0: none is open.", _age(waiting.since, now))
        revisions = GaugeMetricFamily(
            "dicom_node_revisions", "Versions of studies that are not finished.", labels=["state"]
        )
        for state, backlog in self._store.unfinished_revisions().items():
            revisions.add_metric([state], backlog.count)
        yield revisions
        images = GaugeMetricFamily("dicom_node_images", "Images by what was last said of them.", labels=["decision"])
        for decision, count in self._store.decisions().items():
            images.add_metric([decision], count)
        yield images
        made, proven = self._store.durations(LIMITS_S)
        yield _histogram("time_to_result_seconds", "From the last image of a version to its results.", made)
        yield _histogram("time_to_proof_seconds", "From there to the proof that all destinations have them.", proven)

    def _measure_deliveries(self, now: float) -> Iterator[Metric]:
        waiting = self._store.undelivered_results([one.name for one in self._settings.destinations])
        results = GaugeMetricFamily(
            "dicom_node_results_undelivered",
            "Results that a destination does not provably have: to be sent, sent without proof, parked.",
            labels=["destination", "state"],
        )
        oldest: dict[str, float] = {}
        for (destination, state), backlog in waiting.items():
            results.add_metric([destination, state], backlog.count)
            oldest[destination] = max(oldest.get(destination, 0.0), _age(backlog.since, now))
        yield results
        ages = GaugeMetricFamily(
            "dicom_node_oldest_undelivered_result_seconds",
            "Since its study was complete; 0: nothing waits.",
            labels=["destination"],
        )
        for destination, age in oldest.items():
            ages.add_metric([destination], age)
        yield ages

    def _measure_refusals(self) -> Iterator[Metric]:
        refused = CounterMetricFamily(
            "dicom_node_store_refusals",
            "C-STOREs not answered with Success, since this process began.",
            labels=["status"],
        )
        for status, count in self._refusals.count().items():
            refused.add_metric([f"{status:04X}"], count)
        yield refused

    def _measure_machine(self, now: float) -> Iterator[Metric]:
        node = self._settings.node
        try:
            disk = shutil.disk_usage(node.data_dir)
            yield _gauge("disk_free_bytes", "Free where data_dir is.", disk.free)
            yield _gauge("disk_size_bytes", "Of the disk where data_dir is.", disk.total)
            yield _gauge(
                "worker_sweep_age_seconds", "Since the worker last swept.", now - node.heartbeat.stat().st_mtime
            )
        except OSError:  # not there yet: what is absent can be asked for (`absent()`), a wrong number cannot
            pass

    def _name_models(self) -> Iterator[Metric]:
        yield InfoMetricFamily("dicom_node", "The program.", value={"version": __version__})
        models = InfoMetricFamily("dicom_node_model", "Models in [models] bundles.", labels=["name"])
        try:
            found = [bundle.identity for bundle in read_bundles(self._settings.models.bundles)]
        except BundleError:  # the worker refuses them, and says so
            found = []
        for one in found:
            models.add_metric([one.name], {"version": one.version, "task": one.task, "digest": one.digest})
        yield models


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"dicom_node_{name}", text, value=value)


def _histogram(name: str, text: str, took: Durations) -> HistogramMetricFamily:
    limits = [*map(str, map(float, LIMITS_S)), "+Inf"]
    buckets = list(zip(limits, map(float, took.buckets), strict=True))
    return HistogramMetricFamily(f"dicom_node_{name}", text, buckets=buckets, sum_value=took.total_s)


def _age(since: float | None, now: float) -> float:
    return 0.0 if since is None else max(now - since, 0.0)
