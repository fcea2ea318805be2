"""Write a bundle that was calibrated again: a new folder, a new version, and what it was calibrated on."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.bundle import Bundle, Manifest, write_manifest
from models.card import UNTOLD, render_card
from models.report_text import show_figure

HEADING = "## Calibrated again"
_SHARE = """\
Where it was fitted, probabilities mean the share of fractures among these radiographs, and no longer that of the pool.
"""


def write_calibrated(bundle: Bundle, out: Path, fields: Mapping[str, Any], calibration: Mapping[str, Any]) -> Manifest:
    """Copy the bundle with new fields and the next patch version; all files but manifest, metrics and card stay.

    Raises
    ------
    FileExistsError
        There is something at `out` already.
    """
    shutil.copytree(bundle.folder, out)
    kept = bundle.manifest.model_dump(mode="json", exclude_none=True, exclude={"digests"})
    version = raise_patch(bundle.manifest.version)
    manifest = write_manifest(out, {**kept, **fields, "version": version}, tuple(bundle.manifest.digests))
    told = {"from_version": bundle.manifest.version, **calibration}
    if table := bundle.manifest.region or bundle.manifest.type:
        told["temperature_in_training"] = table.temperature
    metrics = _read_metrics(bundle.folder)
    # The first calibration is the one that the table of predictions was made with.
    told |= {key: value for key, value in metrics.get("calibration", {}).items() if key == "temperature_in_training"}
    metrics["calibration"] = told
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (out / "card.md").write_text(_extend_card(bundle.folder, manifest, told), encoding="utf-8")
    return manifest


def raise_patch(version: str) -> str:
    """Return the next patch version, `1.4.10` of `1.4.9`."""
    head, _, patch = version.rpartition(".")
    return f"{head}.{int(patch) + 1}"


def render_calibration(calibration: Mapping[str, Any]) -> str:
    """Return the card's section on it, in Markdown."""
    data = calibration["data"]
    lines = [
        f"{HEADING}\n",
        f"Weights and ranking are those of version {calibration['from_version']}; all figures above are its own.",
        f"The calibration was fitted to {data['samples']} radiographs of `{data['folder']}`, layout {data['layout']}.",
        f"SHA-256 of their names: `{data['digest']}`.\n",
        *([_SHARE] if "answers" in calibration else []),
        *([] if data.get("tells_patients", True) else [f"{UNTOLD}\n"]),
        "Before: the calibration as it was, on these radiographs.",
        "After: one fitted to other radiographs of the same source, in five folds. Intervals: 95 %.\n",
        "| | radiographs | fractures | Brier score before | after | calibration error before | after |",
        "|---|---|---|---|---|---|---|",
        *(_row(one) for one in calibration.get("answers", [calibration])),
    ]
    return "\n".join([*lines, ""])


def render_whole_card(manifest: Manifest, metrics: Mapping[str, Any]) -> str:
    """Return the card in Markdown, with the section on a later calibration if there was one."""
    text = render_card(manifest, metrics)
    return f"{text.rstrip()}\n\n{render_calibration(metrics['calibration'])}" if "calibration" in metrics else text


def _row(one: Mapping[str, Any]) -> str:
    name = ", ".join(one["regions"]) if "regions" in one else "all labels"
    counts = f"| {name} | {one['radiographs']} | {one.get('fractures', '-')} |"
    if not one.get("fitted", True):
        return f"{counts} too few: as it was | | | |"
    shown = (
        show_figure(one[when][figure])
        for figure in ("brier_score", "expected_calibration_error")
        for when in ("before", "after")
    )
    return f"{counts} " + " | ".join(shown) + " |"


def _read_metrics(folder: Path) -> dict[str, Any]:
    path = folder / "metrics.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _extend_card(folder: Path, manifest: Manifest, calibration: Mapping[str, Any]) -> str:
    """Return the bundle's card under its new version, the section on its last calibration in place of any other."""
    path = folder / "card.md"
    text = path.read_text(encoding="utf-8") if path.is_file() else "\n"
    body = text.partition("\n")[2].partition(f"\n{HEADING}\n")[0].rstrip()
    return f"# {manifest.name} {manifest.version}\n{body}\n\n{render_calibration(calibration)}"
