"""Set the scope gate and say what it reaches, on radiographs and outsiders that neither network nor gate has seen."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference.preprocessing import Preprocessing, prepare
from inference.scope import Scope, fit_discriminant, fit_scope
from inference.types import Float32Array, Radiograph, UInt8Array
from models.datasets import Sample
from models.outliers import draw_outliers
from models.outliers.scraps import cut_scraps, cut_trunks
from models.variations import list_places, render_plain, render_shifted

if TYPE_CHECKING:
    from models.exported import Answer  # Keras comes with it, which nothing here needs

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

AXES = 64
TOO_LIKE, TOO_STRANGE = 0.012, 0.003
"""Shares of unseen limbs that likeness to outsiders and strangeness may refuse."""
BATCH = 32

EACH = 8, 75
"""Fewest and most outsiders of one family; between them one for 40 radiographs."""

KINDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "a trunk": ("chest", "lateral chest", "abdomen", "spine", "cut chest", "cut abdomen"),
        "a head": ("skull", "cut head"),
        "a section": ("section",),
        "a picture without anatomy": (
            "noise", "blank", "texture", "scene", "line pairs", "phantom", "shapes", "screen", "fragment", "shuffled",
        ),
    }
)  # fmt: skip
"""Kind of outsiders, as the reader is told -> its families."""


@dataclass(frozen=True, kw_only=True)
class Outsiders:
    """Pictures that show no limb."""

    pictures: tuple[UInt8Array, ...]
    family: NDArray[np.str_]
    """Family of each, one of those in `KINDS`."""
    fold: IntArray
    """The fold that may not learn from it: that of the radiograph it was cut from; drawn ones are dealt out."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What is made of limbs and outsiders where one fold is left out; each (samples, channels)."""

    fold: int
    seen: Float32Array
    """Limbs of the other folds, plain and shifted."""
    unseen: Float32Array
    """Limbs of this fold."""
    outside: Float32Array
    """Outsiders, all of them."""


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The limits of the gate, and what it reaches out of fold."""

    limits: tuple[float, float]
    scopes: Mapping[int, Scope]
    """Fold -> its scope, which learnt from the other folds alone."""
    figures: Mapping[str, Any]


def gather_outsiders(samples: Sequence[Sample], fold: IntArray, *, seed: int, each: int | None = None) -> Outsiders:
    """Draw and cut outsiders: `each` of every drawn family and of scraps, and eight cuts of every trunk and head."""
    each = each or int(np.clip(len(samples) // 40, *EACH))
    folds = int(fold.max()) + 1
    found = [(family, number % folds, pixels) for number, (family, pixels) in enumerate(draw_outliers(each, seed=seed))]
    for row, part, pixels in cut_trunks(samples, each=8, seed=seed):
        found.append((f"cut {part}", int(fold[row]), pixels))
    for row, family, pixels in cut_scraps(samples, each=each, seed=seed):
        found.append((family, int(fold[row]), pixels))
    return Outsiders(
        pictures=tuple(np.round(pixels * 255).astype(np.uint8) for _, _, pixels in found),
        family=np.array([family for family, _, _ in found]),
        fold=np.array([number for _, number, _ in found]),
    )


def embed(answer: "Answer", pictures: Iterable[UInt8Array], preprocessing: Preprocessing) -> Float32Array:
    """Return the embeddings (samples, channels) of pictures."""
    return _ask_in_batches(
        answer,
        (
            prepare(Radiograph(pixels=np.asarray(one / np.float32(255), np.float32)), preprocessing)[0]
            for one in pictures
        ),
    )


def look(
    answer: "Answer",
    samples: Sequence[Sample],
    preprocessing: Preprocessing,
    *,
    seed: int | None = None,
) -> Float32Array:
    """Return the embeddings (samples, channels) of radiographs as they are, or with a `seed` as from elsewhere."""
    if seed is None:
        squares = (render_plain(sample, preprocessing) for sample in samples)
    else:
        places = list_places(samples)
        squares = (
            render_shifted(sample, preprocessing, rng=np.random.default_rng((seed, row)), places=places)
            for row, sample in enumerate(samples)
        )
    return _ask_in_batches(answer, (preprocessing.normalise(square) for square in squares))


def _ask_in_batches(answer: "Answer", tensors: Iterable[Float32Array]) -> Float32Array:
    waiting, parts = iter(tensors), []
    while batch := list(islice(waiting, BATCH)):
        parts.append(np.asarray(answer(np.concatenate(batch))["embedding"], np.float32))
    return np.concatenate(parts)


def fit_gate(
    inside: Float32Array, outside: Float32Array, family: NDArray[np.str_], *, limits: tuple[float, float] = (1.0, 1.0)
) -> Scope:
    """Return the scope that tells limbs from outsiders of these families."""
    return fit_scope(inside, axes=AXES, outside=_sort_by_kind(outside, family), limits=limits)


def _sort_by_kind(outside: Float32Array, family: NDArray[np.str_]) -> dict[str, list[Float32Array]]:
    present = set(family.tolist())
    return {
        kind: [outside[family == name] for name in names if name in present]
        for kind, names in KINDS.items()
        if present & set(names)
    }


def measure_gate(views: Sequence[View], outsiders: Outsiders) -> Gate:
    """Set the limits by limbs that the folds' scopes had not seen, and count what they refuse.

    A limb is judged by limits that those of the other folds set, an outsider by the gate that learnt from the other
    folds' outsiders alone; `unforeseen` is the share refused by gates that learnt from no outsider of its whole kind.
    """
    blind = {view.fold: _fit_without(view, outsiders, outsiders.fold != view.fold) for view in views}
    strange = {view.fold: blind[view.fold].strangeness(view.unseen) for view in views}
    alike = {view.fold: blind[view.fold].likeness(view.unseen) for view in views}
    scopes = {
        fold: replace(scope, limits=_set_limits(_leave_out(fold, strange), _leave_out(fold, alike)))
        for fold, scope in blind.items()
    }
    refused = np.zeros(len(outsiders.family), bool)
    unforeseen = np.zeros(len(outsiders.family), bool)
    for view in views:
        mine = outsiders.fold == view.fold
        refused[mine] = _refuses(scopes[view.fold], view.outside[mine])
        for names in KINDS.values():
            kind = np.isin(outsiders.family, names)
            unaware = _forget(scopes[view.fold], view, outsiders, ~mine & ~kind)
            unforeseen[mine & kind] = _refuses(unaware, view.outside[mine & kind])
    limbs = [_refuses(scopes[view.fold], view.unseen) for view in views]
    figures = {
        "limbs_refused": float(np.concatenate(limbs).mean()),
        "outsiders_shown": dict(Counter(outsiders.family.tolist())),
        "outsiders_refused": _share_by_family(refused, outsiders.family),
        "outsiders_refused_unforeseen": _share_by_family(unforeseen, outsiders.family),
    }
    limits = _set_limits(list(strange.values()), list(alike.values()))
    return Gate(limits=limits, scopes=scopes, figures=figures)


def _set_limits(strange: Sequence[Float32Array], alike: Sequence[Float32Array]) -> tuple[float, float]:
    """Return the strangeness and the likeness that few of these limbs reach."""
    return (
        float(np.quantile(np.concatenate(strange), 1 - TOO_STRANGE)),
        float(np.quantile(np.concatenate(alike), 1 - TOO_LIKE)),
    )


def _leave_out(fold: int, found: Mapping[int, Float32Array]) -> list[Float32Array]:
    return [values for number, values in found.items() if number != fold]


def _fit_without(view: View, outsiders: Outsiders, chosen: BoolArray) -> Scope:
    return fit_gate(view.seen, view.outside[chosen], outsiders.family[chosen])


def _forget(scope: Scope, view: View, outsiders: Outsiders, left: BoolArray) -> Scope:
    """Return a fold's scope as it would be if only the outsiders that are `left` had been shown."""
    outside = _sort_by_kind(view.outside[left], outsiders.family[left])
    weights, bias = fit_discriminant(view.seen, outside) if outside else (None, None)
    return replace(scope, kinds=tuple(outside), weights=weights, bias=bias)


def _refuses(scope: Scope, embeddings: Float32Array) -> BoolArray:
    return np.asarray(scope.distances(embeddings) > 1)


def _share_by_family(refused: BoolArray, family: NDArray[np.str_]) -> dict[str, float]:
    return {str(name): round(float(refused[family == name].mean()), 4) for name in np.unique(family)}
