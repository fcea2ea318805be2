"""Which radiographs a bundle was made from, in its `metrics.json`."""

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.datasets import Dataset, Sample
from models.predictions import TABLE


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what `metrics.json` says under `data`: counts, what was left out, and the digest of the pool."""
    return {
        "samples": len(dataset.samples),
        "digest": digest_names(dataset.samples),
        "left_out": dict(Counter(dataset.left_out.values())),
        "left_out_names": sorted(dataset.left_out),
        "contradicted": sum(sample.contradicted for sample in dataset.samples),
        "tells_patients": dataset.tells_patients,
    }


def name_images(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return a name for each sample of a data set, wherever its folder lies.

    File names where these are unique, otherwise paths below the samples' common folder. With an official split always
    paths below the data set's folder: a part of it has the names of the whole, and another part has others.
    """
    if any(sample.split for sample in samples):
        return tuple(sample.name for sample in samples)
    names = tuple(sample.path.name for sample in samples)
    if len(set(names)) == len(names):
        return names
    common = Path(os.path.commonpath([sample.path.parent for sample in samples]))
    return tuple(sample.path.relative_to(common).as_posix() for sample in samples)


def digest_names(samples: Sequence[Sample]) -> str:
    """Return the SHA-256 of the samples' sorted names, 64 hexadecimal digits.

    Names, not bytes: a pool copied, moved or stored again at another quality is still the pool.
    """
    return hashlib.sha256("\n".join(sorted(name_images(samples))).encode()).hexdigest()


def warn_of_seen(bundle: Path, dataset: Dataset) -> str:
    """Return a warning where the bundle's model has seen radiographs of this data set in training; nothing otherwise.

    Known by the pool's digest in `metrics.json` and by the names in the bundle's table of predictions.
    """
    seen = _names_seen(bundle) & set(name_images(dataset.samples))
    if _digest_of(bundle) == digest_names(dataset.samples) or len(seen) == len(dataset.samples):
        return f"{bundle.name} was trained on these very radiographs: its figures flatter. Honest ones are on its card."
    if seen:
        return (
            f"{bundle.name} was trained on {len(seen)} of these {len(dataset.samples)} radiographs, by their names: "
            "its figures flatter."
        )
    return ""


def warn_of_calibrated(bundle: Path, dataset: Dataset) -> str:
    """Return a warning where the bundle was calibrated again to these radiographs; nothing otherwise."""
    if _digest_of(bundle, "calibration") != digest_names(dataset.samples):
        return ""
    return (
        f"{bundle.name} was calibrated on these very radiographs: probabilities and decisions flatter, ranking does "
        "not. Honest figures are on its card."
    )


def _digest_of(bundle: Path, *below: str) -> str | None:
    try:
        metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    for key in below:
        metrics = metrics.get(key, {})
    found = metrics.get("data", {}).get("digest")
    return str(found) if found else None


def _names_seen(bundle: Path) -> set[str]:
    try:
        with (bundle / TABLE).open(encoding="utf-8", newline="") as table:
            return {row["image"] for row in csv.DictReader(table)}
    except FileNotFoundError:
        return set()
