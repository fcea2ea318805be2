"""What the models are meant to reach, beside what they reach: a table of the card."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference.types import Task


@dataclass(frozen=True, kw_only=True)
class Target:
    """A bound on one of the figures of `metrics.json`."""

    what: str
    at: tuple[str, ...]
    """Where the figure stands."""
    bound: float
    at_least: bool = True
    """Otherwise at most."""


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
        Target(what="accuracy over ten regions", at=("accuracy",), bound=0.98),
        _CALIBRATION,
        Target(what="outsiders refused, the least of all kinds", at=("scope", "outsiders_refused"), bound=0.99),
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
        "\nMissed: the 95 % interval lies beyond the target. Open: it holds the target, the figure does not.\n"
    )
    return "\n".join(lines)


def judge(target: Target, value: float, low: float, high: float) -> str:
    """Return whether the figure reaches the target, or whether its interval at least does."""
    if value >= target.bound if target.at_least else value <= target.bound:
        return "reached"
    return "open" if (high >= target.bound if target.at_least else low <= target.bound) else "missed"


def _row(target: Target, figures: Mapping[str, Any]) -> str:
    found: Any = figures
    for key in target.at:
        found = found.get(key) if isinstance(found, Mapping) else None
    if isinstance(found, Mapping) and "value" not in found:
        found = min(found.values())
    if found is None or (isinstance(found, Mapping) and found["value"] is None):
        return ""
    sign = "≥" if target.at_least else "≤"
    if isinstance(found, Mapping):
        verdict = judge(target, found["value"], found["low"], found["high"])
        shown = f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
    else:
        verdict, shown = judge(target, found, found, found), f"{found:.3f}"
    return f"| {target.what} | {sign} {target.bound:g} | {shown} | {verdict} |"
