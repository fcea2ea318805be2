"""What was said of one image, as plain values: what `dicom-node analyse --json` prints and `POST /predict` answers."""

from pathlib import Path
from typing import Any

from inference.types import Decision, RadiographAnalysis


def to_record(path: Path, analysis: RadiographAnalysis) -> dict[str, Any]:
    """Put what was said about one file into plain values for JSON; coordinates are source pixels."""
    return {
        "path": str(path),
        "region": analysis.region.region if analysis.region else None,
        "region_confidence": round(analysis.region.confidence, 6) if analysis.region else None,
        "fracture_probability": round(analysis.fracture.probability, 6) if analysis.fracture else None,
        "fracture_type": analysis.fracture_type.label if analysis.fracture_type else None,
        "fracture_type_probability": round(analysis.fracture_type.confidence, 6) if analysis.fracture_type else None,
        "decision": str(analysis.decision),
        "confidence": _write_confidence(analysis),
        "reason": analysis.reason,
        "rois": [[roi.x, roi.y, roi.width, roi.height] for roi in analysis.rois],
        "heatmap_peak": list(analysis.heatmap_peak) if analysis.heatmap_peak else None,
        "flags": list(analysis.flags),
        "models": [{"name": one.name, "version": one.version, "digest": one.digest} for one in analysis.models],
    }


def _write_confidence(analysis: RadiographAnalysis) -> str | None:
    """Write the probability of what is predicted as a percentage: of a fracture, or of none; None where there is none.

    Of what the record says, so that both agree to the last digit.
    """
    if analysis.fracture is None:
        return None
    probability = round(analysis.fracture.probability, 6)
    return f"{100 * (1 - probability if analysis.decision is Decision.NO_FRACTURE else probability):.1f}%"
