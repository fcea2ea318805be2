"""What is kept of each image for statistics: what was said of it, and nothing about the patient."""

import re
from math import isfinite

from dicom_node.store import ImageStatistic
from dicom_node.values import AnalysedInstance, StudyAnalysis
from inference.types import Task

OUTSIDE_SCOPE = "outside scope"
"""The reason of what the models refuse because it is unlike all that they know."""
_OF_ONE_IMAGE = re.compile(r"\s*[:(].*|\.$", re.DOTALL)
_TWO_REGIONS = "The header names another region than the image shows"


def measure(analysis: StudyAnalysis) -> list[ImageStatistic]:
    """List what statistics keep of each image of a study, those left out included."""
    left_out = [
        ImageStatistic(
            sop_instance_uid=one.instance.sop_instance_uid, decision="not analysed", reason=name_reason(one.reason)
        )
        for one in analysis.excluded
    ]
    return [_measure(image) for image in analysis.images] + left_out


def _measure(image: AnalysedInstance) -> ImageStatistic:
    said = image.analysis
    spoke = {model.task: f"{model.name} {model.version}" for model in said.models}
    distance = said.scope_distance
    return ImageStatistic(
        sop_instance_uid=image.instance.sop_instance_uid,
        decision=said.decision,
        region=said.region.region if said.region else None,
        probability=said.fracture.probability if said.fracture else None,
        reason="" if said.fracture else name_reason(said.reason),
        region_model=spoke.get(Task.REGION),
        fracture_model=spoke.get(Task.FRACTURE),
        scope_distance=distance if distance is not None and isfinite(distance) else None,
    )


def name_reason(reason: str) -> str:
    """Return a reason without what is of one image alone, so that many images share it.

    The sentence up to its first colon or bracket: behind it stand distances, error texts, body parts.
    """
    if reason.startswith("The header says") and "the image looks like" in reason:
        return _TWO_REGIONS
    return _OF_ONE_IMAGE.sub("", reason)
