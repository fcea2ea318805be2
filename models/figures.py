"""Pictures beside the numbers."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

mpl.use("Agg")
from matplotlib import pyplot as plt

FloatArray = NDArray[np.float64]


def draw_roc(path: Path, probabilities: FloatArray, fractured: FloatArray, *, title: str) -> None:
    """Draw the ROC curve of out-of-fold predictions."""
    alarms, found, _ = roc_curve(fractured, probabilities)
    figure, axes = plt.subplots(figsize=(5, 5), dpi=120)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    axes.plot(alarms, found, color="tab:blue")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title=title, xlim=(0, 1), ylim=(0, 1), aspect="equal")
    _save(figure, path)


def draw_reliability(path: Path, probabilities: FloatArray, fractured: FloatArray, *, title: str) -> None:
    """Draw observed frequency against calibrated probability, ten bins, with the number in each."""
    places = np.minimum((probabilities * 10).astype(int), 9)
    figure, axes = plt.subplots(figsize=(5, 5), dpi=120)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    filled = [place for place in range(10) if (places == place).any()]
    stated = [probabilities[places == place].mean() for place in filled]
    observed = [fractured[places == place].mean() for place in filled]
    axes.plot(stated, observed, color="tab:blue", marker="o")
    for place, x, y in zip(filled, stated, observed, strict=True):
        axes.annotate(f"{(places == place).sum()}", (x, y), textcoords="offset points", xytext=(6, -10), fontsize=8)
    axes.set(xlabel="calibrated probability", ylabel="share with a fracture", title=title, xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    _save(figure, path)


def draw_confusion(path: Path, counts: list[list[int]], labels: list[str], *, title: str) -> None:
    """Draw a confusion matrix, rows actual, columns predicted, coloured by the share of the row."""
    table = np.array(counts, float)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(7, 6.5), dpi=120)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    # Without the metadata the same figures give the same bytes.
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
