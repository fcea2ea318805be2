"""Pictures beside the numbers."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

mpl.use("Agg")
from matplotlib import pyplot as plt

FloatArray = NDArray[np.floating]


def draw_roc(
    path: Path,
    probabilities: FloatArray,
    fractured: NDArray[Any],
    *,
    title: str,
    points: Mapping[str, Any] | None = None,
) -> None:
    """Draw the ROC curve; `points` are operating points to mark, name to (1 - specificity, sensitivity)."""
    alarms, found, _ = roc_curve(fractured, probabilities)
    figure, axes = _square(title, "1 - specificity", "sensitivity")
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    axes.plot(alarms, found, label=f"AUC {roc_auc_score(fractured, probabilities):.3f}")
    for (name, (x, y)), marker in zip((points or {}).items(), "osD^", strict=False):
        axes.plot(x, y, marker=marker, linestyle="", label=f"{name} point: {y:.2f} sensitive, {1 - x:.2f} specific")
    axes.legend(loc="lower right", fontsize=9)
    save(figure, path)


def draw_precision_recall(path: Path, probabilities: FloatArray, fractured: NDArray[Any], *, title: str) -> None:
    """Draw precision against recall, and the precision of saying fracture always."""
    precision, recall, _ = precision_recall_curve(fractured, probabilities)
    prevalence = float(np.mean(fractured))
    figure, axes = _square(title, "recall (sensitivity)", "precision")
    axes.axhline(prevalence, color="0.7", linestyle=":", label=f"all called fractures: {prevalence:.2f}")
    # Steps: precision between two thresholds is that of the lower one, never better.
    label = f"average precision {average_precision_score(fractured, probabilities):.3f}"
    axes.step(recall, precision, where="post", label=label)
    axes.legend(loc="best", fontsize=9)
    save(figure, path)


def draw_reliability(
    path: Path,
    probabilities: FloatArray,
    fractured: NDArray[Any],
    *,
    title: str,
    across: str = "calibrated probability",
    up: str = "share with a fracture",
) -> None:
    """Draw observed frequency against calibrated probability, ten bins, with the number in each."""
    places = np.minimum((probabilities * 10).astype(int), 9)
    figure, axes = _square(title, across, up)
    axes.plot([0, 1], [0, 1], color="0.7", linestyle=":")
    filled = [place for place in range(10) if (places == place).any()]
    stated = [float(probabilities[places == place].mean()) for place in filled]
    observed = [float(fractured[places == place].mean()) for place in filled]
    axes.plot(stated, observed, marker="o")
    for place, x, y, before in zip(filled, stated, observed, [0.0, *observed], strict=False):
        # Left of its point, off the curve that comes from there; right of it where the frame is near.
        height = -4 if y > 0.9 else 5 if y >= before or y < 0.1 else -12
        beside: dict[str, Any] = {"xytext": (-7, height), "ha": "right"} if x > 0.1 else {"xytext": (8, 1)}
        axes.annotate(f"{(places == place).sum()}", (x, y), textcoords="offset points", fontsize=8, **beside)
    save(figure, path)


def draw_confusion(
    path: Path, counts: list[list[int]], labels: list[str], *, title: str, columns: list[str] | None = None
) -> None:
    """Draw a confusion matrix, rows actual, columns predicted (`labels` too, unless given), coloured by row shares."""
    table = np.array(counts, float)
    predicted = columns or labels
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = (2.2 + 0.5 * len(predicted), 1.8 + 0.45 * len(labels))
    figure, axes = plt.subplots(figsize=(max(size[0], 4.5), max(size[1], 3.0)), dpi=120)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), count in np.ndenumerate(table):
        if count:
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count:.0f}", ha="center", va="center", fontsize=8, color=colour)
    if len(predicted) > 4:
        axes.set_xticks(range(len(predicted)), predicted, rotation=60, ha="right")
    else:
        axes.set_xticks(range(len(predicted)), [name.replace(" ", "\n") for name in predicted])
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="predicted", ylabel="actual", title=title)
    save(figure, path)


def draw_grid(path: Path, pictures: Sequence[Callable[[Axes], None]], *, title: str, most: int = 3) -> None:
    """Draw pictures side by side, at most `most` in a row, each by a function that is given its place."""
    columns = min(most, len(pictures))
    rows = -(-len(pictures) // columns)
    figure, places = plt.subplots(rows, columns, figsize=(4 * columns, 4.4 * rows + 0.4), dpi=120, squeeze=False)
    for axes in places.flat:
        axes.axis("off")
    for axes, picture in zip(places.flat, pictures, strict=False):
        picture(axes)
    figure.suptitle(title)
    save(figure, path)


def _square(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure, axes = plt.subplots(figsize=(5, 5), dpi=120)
    axes.set(xlabel=across, ylabel=up, title=title, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a figure that is drawn, and forget it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    # Without the metadata the same figures give the same bytes.
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
