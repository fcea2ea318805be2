"""What the pictures beside the numbers show, read from the figures before they are written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from models import figures, history_figure
from models.figures import draw_reliability
from models.history_figure import draw_history, list_curves, list_stages
from models.predictions import FracturePredictions
from models.table_figures import draw_table

RECIPE = {"epochs": 2, "image_size": 384, "first": {"epochs": 3, "image_size": 320, "first": None}}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> dict[str, Figure]:
    """Keep the figures by the names of their files instead of writing them."""
    kept: dict[str, Figure] = {}
    for module in (figures, history_figure):
        monkeypatch.setattr(module, "save", lambda figure, path: kept.__setitem__(path.stem, figure))
    return kept


def build_history(*, folds: int = 2, epochs: int = 5) -> list[dict[str, Any]]:
    """Of a fracture head with outlined cells and a region head, as Keras logs them."""
    names = ["loss", "fracture_loss", "region_loss", "fracture_cells_loss", "fracture_accuracy", "region_accuracy"]
    measured = {name: 0.5 for one in names for name in (one, f"val_{one}")} | {"val_fracture_cells_loss": 0.0}
    return [{"fold": fold, "epoch": epoch + 1, **measured} for fold in range(folds) for epoch in range(epochs)]


def legend(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_course_of_training_is_told_in_words_and_only_of_what_was_measured(drawn: dict[str, Figure]) -> None:
    draw_history(Path("history.png"), build_history(), RECIPE)
    losses, accuracies = drawn["history"].axes
    assert legend(losses) == [
        "fracture: in training",
        "fracture: held out",
        "region: in training",
        "region: held out",
        "where fractures lie: in training",
        "thin: each fold; thick: their mean",
    ]
    assert legend(accuracies)[:2] == ["fracture: in training", "fracture: held out"]
    assert (losses.get_ylabel(), accuracies.get_ylabel()) == ("loss", "accuracy: share answered rightly")


def test_one_task_alone_is_not_named() -> None:
    history = [{"fold": 0, "epoch": 1, "loss": 0.5, "val_loss": 0.6}]
    assert [one.words for one in list_curves(history, "loss")] == ["in training", "held out"]


def test_a_line_stands_where_squares_of_another_size_come(drawn: dict[str, Figure]) -> None:
    draw_history(Path("history.png"), build_history(), RECIPE)
    for axes in drawn["history"].axes:
        assert [3.5, 3.5] in [list(line.get_xdata()) for line in axes.lines]
        assert {text.get_text().strip() for text in axes.texts} == {"320 pixels", "384 pixels"}


def test_a_last_stage_that_learns_nothing_is_no_stage(drawn: dict[str, Figure]) -> None:
    recipe = RECIPE | {"epochs": 0}
    assert list_stages(recipe) == [(3, 320)]
    draw_history(Path("history.png"), build_history(epochs=3), recipe)
    assert not drawn["history"].axes[0].texts


def test_the_curve_of_a_bundle_marks_its_operating_points(drawn: dict[str, Figure]) -> None:
    count = 10
    table = FracturePredictions(
        image=[f"{index}.jpg" for index in range(count)], fold=np.zeros(count), cluster=np.arange(count),
        region=["HAND"] * count, fractured=np.arange(count) < 5, usable=np.ones(count), output=["ANY"] * count,
        logit=np.zeros(count), probability=[0.95, 0.85, 0.65, 0.45, 0.15, 0.75, 0.55, 0.35, 0.25, 0.05],
        sensitive=np.full(count, 0.3), specific=np.full(count, 0.7), peak_x=np.zeros(count), peak_y=np.zeros(count),
        final_logit=np.zeros(count),
    )  # fmt: skip
    draw_table(Path(), table, ("ANY",))
    (axes,) = drawn["roc"].axes
    marked = {line.get_label().partition(" ")[0]: (*line.get_xdata(), *line.get_ydata()) for line in axes.lines}
    assert marked["sensitive"] == pytest.approx((0.6, 0.8))
    assert marked["specific"] == pytest.approx((0.2, 0.4))


def test_no_number_of_the_reliability_diagram_crosses_its_frame(drawn: dict[str, Figure]) -> None:
    # The corners, and a bin that lies at the bottom after a higher one.
    stated = np.concatenate([np.full(2000, 0.004), np.full(3000, 0.996), np.full(50, 0.4), np.full(100, 0.5)])
    draw_reliability(Path("reliability.png"), stated, (stated > 0.6) | (stated == 0.4), title="Regions")
    figure = drawn["reliability"]
    figure.canvas.draw()
    (axes,) = figure.axes
    frame = axes.get_window_extent()
    assert [text.get_text() for text in axes.texts] == ["2000", "50", "100", "3000"]
    for text in axes.texts:
        box = text.get_window_extent()
        assert frame.x0 < box.x0 < box.x1 < frame.x1
        assert frame.y0 < box.y0 < box.y1 < frame.y1
