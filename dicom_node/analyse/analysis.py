"""From the radiographs of a study to its analysis: decode, call the pipeline, weigh its answer against the header.

A radiograph that cannot be analysed is part of the answer, with its reason; it never loses the rest of the study.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from pydicom import Dataset

from dicom_node.analyse.grayscale import contradicts_itself
from dicom_node.analyse.header_check import (
    analyse_by_policy,
    describe_burned_in_annotation,
    describe_laterality_conflict,
    describe_several_parts,
)
from dicom_node.analyse.patience import Patience
from dicom_node.analyse.pixels import load_radiograph
from dicom_node.errors import StudyError, describe_unforeseen
from dicom_node.settings import AnalysisSettings, HeaderPolicy
from dicom_node.values import AnalysedInstance, Instance, Selection, Study, StudyAnalysis
from inference.errors import UnsupportedImageError
from inference.overlay import show
from inference.phrases import Phrase
from inference.types import Decision, ModelIdentity, Radiograph, RadiographAnalysis

LEFT_ALONE = Phrase(
    "Not opened: other images of this study have crashed the processes that work on them, or kept them longer than "
    "their limits, too often."
)
Decode = Callable[[Path], Radiograph]
"""What makes a Part 10 file a `Radiograph`; raises `StudyError` where it cannot."""

_DEFAULTS = AnalysisSettings()
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
    decode: Decode = load_radiograph,
    policy: HeaderPolicy = HeaderPolicy.TRUST_PIXELS,
    settings: AnalysisSettings = _DEFAULTS,
) -> StudyAnalysis:
    """Analyse the selected radiographs of `study`, one after the other, in its order.

    Raises `ChildProcessError` where a process that the analysis needs cannot be started.
    """
    patience = Patience(settings)
    return StudyAnalysis(
        study=study,
        images=tuple(
            analyse_instance(instance, pipeline, decode=decode, policy=policy, patience=patience)
            for instance in selection.radiographs
        ),
        excluded=selection.excluded,
        models=pipeline.models,
    )


def analyse_instance(
    instance: Instance,
    pipeline: RadiographPipeline,
    *,
    decode: Decode = load_radiograph,
    policy: HeaderPolicy = HeaderPolicy.TRUST_PIXELS,
    patience: Patience | None = None,
) -> AnalysedInstance:
    """Analyse one radiograph; where that fails, say so in the answer."""
    patience = patience or Patience(_DEFAULTS)
    if patience.is_exhausted:
        return AnalysedInstance(instance=instance, shown=None, analysis=_not_analysed(LEFT_ALONE))
    try:
        radiograph = patience.insist(lambda: decode(instance.path))
    except StudyError as error:
        reason = Phrase("The image could not be decoded: {why}.", why=_say(error))
        return AnalysedInstance(instance=instance, shown=None, analysis=_not_analysed(reason))
    analysis = analyse_by_policy(
        instance.header, policy, lambda region: _analyse(radiograph, pipeline, region, patience)
    )
    flags = (*analysis.flags, *_header_flags(instance.header))
    return AnalysedInstance(instance=instance, shown=show(radiograph), analysis=replace(analysis, flags=flags))


def _analyse(
    radiograph: Radiograph, pipeline: RadiographPipeline, region: str | None, patience: Patience
) -> RadiographAnalysis:
    try:
        analysis = patience.insist(lambda: pipeline.analyse(radiograph, region=region))
    except UnsupportedImageError as error:
        return _not_analysed(Phrase("The models do not accept the image: {why}.", why=_say(error)))
    except StudyError as error:
        return _not_analysed(Phrase("The models could not analyse the image: {why}.", why=_say(error)))
    except ChildProcessError:
        raise  # no fault of the image: it is analysed when the process can be started again
    except Exception as error:  # noqa: BLE001 - one image must not lose the study; the answer says it, the log says where
        _LOGGER.error("the models failed on an image: %s", describe_unforeseen(error))  # noqa: TRY400 - no texts of exceptions in logs
        return _not_analysed(Phrase("The models failed on the image ({kind}).", kind=type(error).__name__))
    if not _makes_sense(analysis):
        _LOGGER.error("the models gave what is no probability, such as NaN")
        return _not_analysed(Phrase("The models gave no usable answer: a probability that is none."))
    return analysis


def _makes_sense(analysis: RadiographAnalysis) -> bool:
    """Tell whether every probability is one: comparisons with NaN would pass for an answer."""
    region, fracture, named = analysis.region, analysis.fracture, analysis.fracture_type
    shares = [region.confidence, *region.probabilities.values()] if region else []
    shares += [fracture.probability] if fracture else []
    shares += [named.confidence, *named.probabilities.values()] if named else []
    return all(0 <= share <= 1 for share in shares)


def _say(error: Exception) -> Phrase:
    """Return what an exception says, so that it can be said in other languages too."""
    (said,) = error.args or ("",)
    return said if isinstance(said, Phrase) else Phrase(str(said))


def _not_analysed(reason: str) -> RadiographAnalysis:
    return RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=reason)


def _header_flags(header: Dataset) -> tuple[str, ...]:
    """List where the header contradicts itself, and what it says of the image that the answer is to be read with."""
    grey = Phrase("The header contradicts itself about black and white: this may be the negative of the image.")
    remarks = (
        describe_laterality_conflict(header),
        grey if contradicts_itself(header) else None,
        describe_several_parts(header),
        describe_burned_in_annotation(header),
    )
    return tuple(filter(None, remarks))
