"""What the models are meant to reach, beside what they reach: a table of the card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference.types import Task
from models.datasets import REGIONS
from models.evaluation import Figure, bound_share
from models.report_text import show_figure


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bound on one of the figures of `metrics.json`."""

    what: str
    """In the table; `{regions}` stands for how many there are."""
    at: tuple[str, ...]
    """Where the figure stands."""
    bound: float
    at_least: bool = True
    """Otherwise at most."""
    counted: tuple[str, ...] = ()
    """Where it stands of how many each of several shares is: the least of them is then a figure with an interval."""


_CALIBRATION = Target(what="expected calibration error", at=("expected_calibration_error",), bound=0.04, at_least=False)
TARGETS: Mapping[Task, tuple[Target, ...]] = {
    Task.FRACTURE: (
        Target(what="AUC, all regions together", at=("all", "auc"), bound=0.95),
        *(
            Target(what=f"AUC, {name}", at=("regions", name, "auc"), bound=0.93)
            for name in ("HAND", "FOREARM", "ANKLE_FOOT")
        ),
        Target(what="sensitivity at the sensitive point", at=("all", "sensitivity_at_sensitive_point"), bound=0.95),
        Target(what="specificity at the specific point", at=("all", "specificity_at_specific_point"), bound=0.95),
        Target(what="Grad-CAM peak in a radiologist's box", at=("grad_cam_peak_in_box", "all"), bound=0.8),
        Target(
            what="expected calibration error",
            at=("all", "expected_calibration_error"),
            bound=0.04,
            at_least=False,
        ),
        Target(what="AUC as if from elsewhere (simulated)", at=("shifted", "auc"), bound=0.85),
    ),
    Task.REGION: (
        Target(what="accuracy over {regions} regions", at=("accuracy",), bound=0.98),
        _CALIBRATION,
        Target(
            what="outsiders refused, the least of all kinds",
            at=("scope", "outsiders_refused"),
            bound=0.99,
            counted=("scope", "outsiders_shown"),
        ),
        Target(what="limbs refused as they are", at=("scope", "refused_of_named_regions"), bound=0.02, at_least=False),
        Target(what="limbs refused, plain and shifted", at=("scope", "limbs_refused"), bound=0.02, at_least=False),
    ),
    Task.TYPE: (_CALIBRATION,),
}


def render_targets(task: Task, figures: Mapping[str, Any]) -> str:
    """Return the table in Markdown; a figure that the data set did not allow has no row."""
    lines = ["## Targets\n", "| figure | target | reached | verdict |", "|---|---|---|---|"]
    lines += [row for target in TARGETS[task] if (row := _row(target, figures))]
    lines.append(
        "\nReached: the figure does, whatever its interval. Missed: the 95 % interval lies beyond the target. Open: it "
        "holds the target, the figure does not. Not reached: the figure does not reach it, and has no interval that "
        "could tell chance from a miss.\n"
    )
    return "\n".join(lines)


def count_regions(figures: Mapping[str, Any]) -> str:
    """Say how many regions the figures tell apart."""
    count = len(figures.get("regions", REGIONS))
    return "ten" if count == len(REGIONS) else str(count)


def judge(target: Target, value: float, low: float, high: float) -> str:
    """Return whether the figure reaches the target, or whether its interval at least does."""
    if value >= target.bound if target.at_least else value <= target.bound:
        return "reached"
    return "open" if (high >= target.bound if target.at_least else low <= target.bound) else "missed"


def _row(target: Target, figures: Mapping[str, Any]) -> str:
    found = _find(figures, target.at)
    if isinstance(found, Mapping) and "value" not in found:
        found = _take_least(found, _find(figures, target.counted) or {})
    if found is None or (isinstance(found, Mapping) and found["value"] is None):
        return ""
    sign = "≥" if target.at_least else "≤"
    if isinstance(found, Mapping):
        verdict, shown = judge(target, found["value"], found["low"], found["high"]), show_figure(found)
    else:
        verdict = "reached" if judge(target, found, found, found) == "reached" else "not reached"
        shown = f"{found:.3f}"
    what = target.what.format(regions=count_regions(figures))
    return f"| {what} | {sign} {target.bound:g} | {shown} | {verdict} |"


def _find(figures: Mapping[str, Any], at: tuple[str, ...]) -> Any:
    found: Any = figures
    for key in at:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _take_least(shares: Mapping[str, float], counts: Mapping[str, int]) -> Figure | float:
    """Return the least share, with its exact interval where it is known of how many it is; of equals that of fewest."""
    name = min(shares, key=lambda one: (shares[one], counts.get(one, 0)))
    if not counts.get(name):
        return shares[name]
    hits = round(shares[name] * counts[name])
    low, high = bound_share(hits / counts[name], counts[name])
    return Figure(value=shares[name], low=low, high=high)
