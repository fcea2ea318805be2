"""Whether what the node sees still looks like what its models were measured on; the arithmetic is `inference.drift`.

Scores are compared within the regions that share a calibration, so that a clinic with more knees and fewer hands than
the reference has not drifted. How the regions are spread is shown and raises nothing: every clinic has its own. The
images of one study are not independent of each other: what counts is the number of studies.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from dicom_node.settings import Settings
from dicom_node.store import Store
from inference.bundle import Bundle, read_bundles
from inference.drift import Comparison, Reference, compare, compare_shares, load_reference
from inference.errors import BundleError
from inference.phrases import Phrase
from inference.uncertainty import calibrate

_DAY_S = 86_400
SELDOM_S = 3600


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How far something is from its reference."""

    model: str
    """Name and version."""
    what: str
    """What is compared, in words that complete a sentence."""
    images: int
    """Seen in the last days."""
    comparison: Comparison | None
    """None where the bundle carries no reference."""
    raises: bool = True
    """Whether it is an alarm once it has drifted."""

    @property
    def is_alarm(self) -> bool:
        """Whether somebody should look."""
        return self.raises and self.comparison is not None and self.comparison.has_drifted


def assess_drift(settings: Settings, store: Store, now: float) -> tuple[Drift, ...]:
    """Compare the last days with the reference of every bundle that is configured; `now` is Unix time in seconds.

    Nothing where `[alerts] drift_days` is 0, or where no bundle can be read: the worker refuses those, and says so.
    """
    days = settings.alerts.drift_days
    if not days:
        return ()
    try:
        bundles = [(bundle, load_reference(bundle)) for bundle in read_bundles(settings.models.bundles)]
    except BundleError:
        return ()
    since = now - days * _DAY_S
    return tuple(drift for bundle, reference in bundles for drift in _assess(store, bundle, reference, since))


def _assess(store: Store, bundle: Bundle, reference: Reference | None, since: float) -> Iterator[Drift]:
    manifest = bundle.manifest
    model = f"{manifest.name} {manifest.version}"
    for answer in manifest.answers:
        sample = store.scores(model, answer.regions, since)
        known = [score for score in reference.scores if score.regions == answer.regions] if reference else []
        comparison = None
        if known:
            logits = known[0].logits
            edges = tuple(calibrate(edge, answer) for edge in logits.edges)
            comparison = compare(logits.model_copy(update={"edges": edges}), sample.values, independent=sample.studies)
        what = Phrase("the spread of scores for {regions}", regions=", ".join(answer.regions))
        yield Drift(model=model, what=what, images=len(sample.values), comparison=comparison)
    if manifest.region is not None:
        yield from _assess_regions(store, model, reference, since)


def _assess_regions(store: Store, model: str, reference: Reference | None, since: float) -> Iterator[Drift]:
    distances, regions = store.scope_distances(model, since), store.regions_seen(model, since)
    far, mix = None, None
    if reference is not None and reference.scope_distance is not None:
        far = compare(reference.scope_distance, distances.values, independent=distances.studies)
    if reference is not None and reference.regions is not None:
        counts = Counter(regions.values)
        mix = compare_shares(reference.regions, counts, independent=regions.studies)
    what = Phrase("the distance from what it knows")
    yield Drift(model=model, what=what, images=len(distances.values), comparison=far)
    yield Drift(
        model=model, what=Phrase("the mix of regions"), images=len(regions.values), comparison=mix, raises=False
    )


class Seldom:
    """`assess_drift` at most once an hour: what the last four weeks say does not change in a minute."""

    def __init__(self) -> None:
        self._found: tuple[Drift, ...] = ()
        self._at: float | None = None

    def __call__(self, settings: Settings, store: Store, now: float) -> tuple[Drift, ...]:
        """Return what was found at most an hour ago."""
        if self._at is None or not 0 <= now - self._at < SELDOM_S:
            self._found, self._at = assess_drift(settings, store, now), now
        return self._found
