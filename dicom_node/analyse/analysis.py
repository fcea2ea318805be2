"""From the radiographs of a study to its analysis: decode, call the pipeline, weigh its answer against the header.

A radiograph that cannot be analysed is part of the answer, with its reason; it never loses the rest of the study.
"""

import logging
from dataclasses import replace
from typing import Protocol

from pydicom import Dataset

from dicom_node.analyse.grayscale import contradicts_itself
from dicom_node.analyse.header_check import analyse_by_policy, describe_laterality_conflict
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.errors import UndecodableImageError, describe_unforeseen
from dicom_node.settings import HeaderPolicy
from dicom_node.values import AnalysedInstance, Instance, Selection, Study, StudyAnalysis
from inference.errors import UnsupportedImageError
from inference.types import Decision, ModelIdentity, Radiograph, RadiographAnalysis

_LOGGER = logging.getLogger(__name__)


class RadiographPipeline(Protocol):
    """What analyses one radiograph: `inference.pipeline.Pipeline`, or a scripted one in tests."""

    @property
    def models(self) -> tuple[ModelIdentity, ...]:
        """Every model that is loaded."""

    def analyse(self, radiograph: Radiograph, *, region: str | None = None) -> RadiographAnalysis:
        """Analyse one radiograph, as one of `region` where that is given.

        Raises `UnsupportedImageError` for one outside what the models accept.
        """


def analyse_study(
    study: Study,
    selection: Selection,
    pipeline: RadiographPipeline,
    *,
    policy: HeaderPolicy = HeaderPolicy.TRUST_PIXELS,
) -> StudyAnalysis:
    """Analyse the selected radiographs of `study`, one after the other, in its order. Raises nothing of its own."""
    return StudyAnalysis(
        study=study,
        images=tuple(analyse_instance(instance, pipeline, policy=policy) for instance in selection.radiographs),
        excluded=selection.excluded,
        models=pipeline.models,
    )


def analyse_instance(
    instance: Instance, pipeline: RadiographPipeline, *, policy: HeaderPolicy = HeaderPolicy.TRUST_PIXELS
) -> AnalysedInstance:
    """Analyse one radiograph; where that fails, say so in the answer."""
    try:
        radiograph = load_radiograph(instance.path)
    except UndecodableImageError as error:
        reason = f"The image could not be decoded: {error}."
        return AnalysedInstance(instance=instance, radiograph=None, analysis=_not_analysed(reason))
    analysis = analyse_by_policy(instance.header, policy, lambda region: _analyse(radiograph, pipeline, region))
    flags = (*analysis.flags, *_header_flags(instance.header))
    return AnalysedInstance(instance=instance, radiograph=radiograph, analysis=replace(analysis, flags=flags))


def _analyse(radiograph: Radiograph, pipeline: RadiographPipeline, region: str | None) -> RadiographAnalysis:
    try:
        return pipeline.analyse(radiograph, region=region)
    except UnsupportedImageError as error:
        return _not_analysed(f"The models do not accept the image: {error}.")
    except Exception as error:  # noqa: BLE001 - one image must not lose the study; the answer says it, the log says where
        _LOGGER.error("the models failed on an image: %s", describe_unforeseen(error))  # noqa: TRY400 - no texts of exceptions in logs
        return _not_analysed(f"The models failed on the image ({type(error).__name__}).")


def _not_analysed(reason: str) -> RadiographAnalysis:
    return RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=reason)


def _header_flags(header: Dataset) -> tuple[str, ...]:
    """List where the header contradicts itself."""
    grey = "The header contradicts itself about black and white: this may be the negative of the image."
    return tuple(filter(None, [describe_laterality_conflict(header), grey if contradicts_itself(header) else None]))
