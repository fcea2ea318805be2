"""The course of a training, drawn from the history and the recipe in a bundle's `metrics.json`."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from models.figures import save

HELD_OUT = "val_"
_WORDS = {"fracture_cells": "where fractures lie"}
"""Of what Keras calls otherwise; the tasks are called by their names."""


class Curve(NamedTuple):
    """A figure of each epoch, by what it is of."""

    name: str
    """As Keras calls it."""
    of: str
    """A task, or words for part of one; empty for all that is learned together."""
    is_held_out: bool
    """Of radiographs that the fold does not learn from; otherwise of those it learns from, as they are varied."""

    @property
    def words(self) -> str:
        """What the legend says."""
        return (f"{self.of}: " if self.of else "") + ("held out" if self.is_held_out else "in training")


def draw_history(path: Path, history: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> None:
    """Draw losses and accuracies against the epoch, a thin line for each fold and a thick one for their mean.

    `history` has a row for each fold and epoch: `fold`, `epoch`, and figures by the names that Keras gives them. Of
    `recipe` are read the stages: a line stands where squares of another size come.
    """
    shown = {kind: list_curves(history, kind) for kind in ("loss", "accuracy")}
    shown = {kind: curves for kind, curves in shown.items() if curves}
    subjects = dict.fromkeys(one.of for curves in shown.values() for one in curves)
    colours = {of: f"C{place}" for place, of in enumerate(subjects)}
    figure, places = plt.subplots(1, len(shown), figsize=(6 * len(shown), 4.6), dpi=120, squeeze=False)
    for axes, (kind, curves) in zip(places[0], shown.items(), strict=True):
        lines = [_draw_curve(axes, history, one, colours[one.of]) for one in curves]
        thin = Line2D([], [], color="0.4", linewidth=0.7, label="thin: each fold; thick: their mean")
        _mark_stages(axes, recipe)
        axes.set(xlabel="epoch", ylabel=kind if kind == "loss" else "accuracy: share answered rightly")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(handles=[*lines, thin], fontsize=8)
    figure.suptitle("Training")
    save(figure, path)


def list_curves(history: Sequence[Mapping[str, Any]], kind: str) -> list[Curve]:
    """Return what was measured of this kind, `loss` or `accuracy`, in the order of what it is of.

    What is 0 throughout was not measured: nothing outlines the fractures of the radiographs held out. So the sum of all
    losses is of other parts for those than in training, and is left out where its parts are there.
    """
    names = dict.fromkeys(name for row in history for name in row if name.endswith(kind))
    measured = [name for name in names if any(row.get(name) for row in history)]
    curves = [_parse(name, kind) for name in measured]
    parts = [one for one in curves if one.of] or curves
    return sorted(parts, key=lambda one: (one.of, one.is_held_out))


def list_stages(recipe: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return (epochs, side of the squares in pixels) of each stage that learned something, the first one first."""
    before = list_stages(recipe["first"]) if recipe.get("first") else []
    return [*before, (recipe["epochs"], recipe["image_size"])] if recipe["epochs"] else before


def _parse(name: str, kind: str) -> Curve:
    of = name.removeprefix(HELD_OUT).removesuffix(kind).rstrip("_")
    return Curve(name=name, of=_WORDS.get(of, of), is_held_out=name.startswith(HELD_OUT))


def _draw_curve(axes: Axes, history: Sequence[Mapping[str, Any]], curve: Curve, colour: str) -> Line2D:
    rows = [row for row in history if curve.name in row]
    look: dict[str, Any] = {"color": colour, "linestyle": "--" if curve.is_held_out else "-"}
    for fold in sorted({row["fold"] for row in rows}):
        axes.plot(*_take(rows, curve.name, fold), **look, linewidth=0.6, alpha=0.45)
    epochs = sorted({row["epoch"] for row in rows})
    means = [np.mean([row[curve.name] for row in rows if row["epoch"] == epoch]) for epoch in epochs]
    (line,) = axes.plot(epochs, means, **look, linewidth=2, label=curve.words)
    return line


def _take(rows: Sequence[Mapping[str, Any]], name: str, fold: int) -> Iterator[Any]:
    return zip(*sorted((row["epoch"], row[name]) for row in rows if row["fold"] == fold), strict=True)


def _mark_stages(axes: Axes, recipe: Mapping[str, Any]) -> None:
    stages, begun = list_stages(recipe), 0
    for (epochs, side), (_, larger) in pairwise(stages):
        begun += epochs
        axes.axvline(begun + 0.5, color="0.6", linestyle=":")
        top = axes.get_xaxis_transform()
        for words, aligned in ((f"{side} pixels ", "right"), (f" {larger} pixels", "left")):
            axes.text(begun + 0.5, 1.01, words, transform=top, ha=aligned, va="bottom", fontsize=8, color="0.4")
