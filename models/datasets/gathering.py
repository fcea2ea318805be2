"""From the radiographs a layout lists to a data set: broken files left out, copies of one radiograph in one group."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.datasets.near_duplicates import find_near_duplicates
from models.datasets.reading import THUMBNAIL, UInt8Array, UnreadableImageError, read_thumbnail
from models.datasets.sample import Dataset, Sample


def gather(
    listed: Sequence[Sample], *, images: Path, left_out: Mapping[str, str] | None = None, notes: Sequence[str] = ()
) -> Dataset:
    """Decode every listed file but those already `left_out`, and join the groups of those that show one radiograph.

    A file's name is its path below `images`. A label is contradicted by any file of the group, left out or not.
    """
    reasons = dict(left_out or {})
    kept: list[Sample] = []
    thumbnails: list[UInt8Array] = []
    for sample in listed:
        name = _name(sample, images)
        if name in reasons:
            continue
        try:
            thumbnails.append(read_thumbnail(sample.path))
        except UnreadableImageError as error:
            reasons[name] = str(error)
        else:
            kept.append(sample)
    pairs = find_near_duplicates(np.array(thumbnails, np.uint8).reshape(-1, THUMBNAIL, THUMBNAIL))
    joined = _join([sample.group for sample in listed], [(kept[i].group, kept[j].group) for i, j in pairs])
    contradicted = _contradicted(listed, joined)
    samples = tuple(
        replace(
            sample,
            group=joined[sample.group],
            contradicted=joined[sample.group] in contradicted,
            name=_name(sample, images),
        )
        for sample in kept
    )
    merged = {joined[old] for old in joined if joined[old] != old}
    duplicates = _list_groups(samples, images)
    found = tuple(names for group, names in duplicates.items() if group in merged)
    return Dataset(
        samples=samples, left_out=reasons, duplicates=tuple(duplicates.values()), found=found, notes=tuple(notes)
    )


def _name(sample: Sample, images: Path) -> str:
    return sample.path.relative_to(images).as_posix()


def _join(groups: Iterable[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return for each group the first, in the order of names, of those it is joined with."""
    names = sorted(set(groups))
    places = {name: place for place, name in enumerate(names)}
    one, other = ([places[pair[side]] for pair in pairs] for side in (0, 1))
    edges = coo_array((np.ones(len(pairs)), (one, other)), shape=(len(names), len(names)))
    _, component = connected_components(edges, directed=False)
    first: dict[int, str] = {}
    return {name: first.setdefault(int(place), name) for name, place in zip(names, component, strict=True)}


def _contradicted(listed: Sequence[Sample], joined: Mapping[str, str]) -> set[str]:
    labels: dict[str, set[tuple[bool | None, str]]] = {}
    for sample in listed:
        labels.setdefault(joined[sample.group], set()).add((sample.fractured, sample.label))
    return {group for group, seen in labels.items() if len(seen) > 1}


def _list_groups(samples: Sequence[Sample], images: Path) -> dict[str, tuple[str, ...]]:
    groups: dict[str, list[str]] = {}
    for sample in samples:
        groups.setdefault(sample.group, []).append(_name(sample, images))
    return {group: tuple(names) for group, names in groups.items() if len(names) > 1}
