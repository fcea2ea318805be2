"""Which radiographs a bundle was made from, in its `metrics.json`."""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models.datasets import Dataset, Sample


def describe(dataset: Dataset) -> dict[str, Any]:
    """Return what `metrics.json` says under `data`: counts, what was left out, and the digest of the pool."""
    return {
        "samples": len(dataset.samples),
        "digest": digest_names(dataset.samples),
        "left_out": dict(Counter(dataset.left_out.values())),
        "left_out_names": sorted(dataset.left_out),
        "contradicted": sum(sample.contradicted for sample in dataset.samples),
    }


def name_images(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Return a name for each sample of a whole data set, wherever its folder lies.

    File names where these are unique, otherwise paths below the samples' common folder.
    """
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


def was_made_from(metrics: Mapping[str, Any], dataset: Dataset) -> bool:
    """Tell whether the bundle of these metrics was made from exactly this data set."""
    return bool(metrics.get("data", {}).get("digest") == digest_names(dataset.samples))
