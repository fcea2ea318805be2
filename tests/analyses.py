"""Builders of what the pipeline says: analyses to encode, without a model."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
from builders import build_dx, draw_phantom
from pydicom import Dataset, dcmread

from dicom_node.values import AnalysedInstance, ExcludedInstance, Instance, ResultReference, Study, StudyAnalysis
from inference.grad_cam import quantise
from inference.overlay import show
from inference.types import (
    Decision,
    FracturePrediction,
    ModelIdentity,
    Radiograph,
    RadiographAnalysis,
    RegionPrediction,
    Roi,
    Task,
    TypePrediction,
)

MODELS = (
    ModelIdentity(name="drawn-region", version="1.2.0", task=Task.REGION, digest="a1" * 32),
    ModelIdentity(name="drawn-fracture-lower-leg", version="1.0.3", task=Task.FRACTURE, digest="b2" * 32),
)
TYPE_MODEL = ModelIdentity(name="drawn-type", version="0.2.0", task=Task.TYPE, digest="c3" * 32)
ROWS, COLUMNS = 512, 400
"""Of the phantom."""


def build_analysis(rows: int = ROWS, columns: int = COLUMNS, **attributes: object) -> RadiographAnalysis:
    """Build what the pipeline says about a picture: a fracture, hot in the upper right, unless told otherwise."""
    x, y = round(columns * 0.67), round(rows * 0.3)
    down, right = np.mgrid[0:rows, 0:columns].astype(np.float32)
    width = 0.09 * np.sqrt(rows * columns)
    heat = np.exp(-((right - x) ** 2 + (down - y) ** 2) / (2 * width**2)).astype(np.float32)
    side = max(1, round(width * 2))
    values: dict[str, object] = {
        "decision": Decision.FRACTURE,
        "region": RegionPrediction(
            region="LOWER_LEG", confidence=0.97, probabilities={"LOWER_LEG": 0.97, "HAND": 0.03}
        ),
        "fracture": FracturePrediction(probability=0.87, sensitive_threshold=0.2, specific_threshold=0.6),
        "heatmap": quantise(heat),
        "rois": (Roi(x=x - side // 2, y=y - side // 2, width=side, height=side, score=1.0),),
        "heatmap_peak": (x, y),
        "models": MODELS,
    }
    return RadiographAnalysis(**(values | attributes))


def name_types(**probabilities: float) -> dict[str, object]:
    """Name the types of a fracture: the keywords of an analysis to which a type model spoke."""
    label = max(probabilities, key=probabilities.__getitem__)
    prediction = TypePrediction(label=label, confidence=probabilities[label], probabilities=probabilities)
    return {"fracture_type": prediction, "models": (*MODELS, TYPE_MODEL)}


def build_radiograph(rows: int = ROWS, columns: int = COLUMNS, **attributes: object) -> Radiograph:
    """Build a radiograph of the phantom."""
    return Radiograph(pixels=draw_phantom(rows, columns), **attributes)


def build_instance(ds: Dataset) -> Instance:
    """Build an instance as the node has it: written, and its header read again without the pixels."""
    with BytesIO() as file:
        ds.save_as(file, enforce_file_format=True)
        file.seek(0)
        header = dcmread(file, stop_before_pixels=True, force=True)
    return Instance(path=Path("received.dcm"), header=header)


def build_image(ds: Dataset | None = None, *, pixel_aspect: float = 1.0, **attributes: object) -> AnalysedInstance:
    """Build an analysed radiograph; keywords are those of the analysis."""
    return AnalysedInstance(
        instance=build_instance(build_dx() if ds is None else ds),
        shown=show(build_radiograph(pixel_aspect=pixel_aspect)),
        analysis=build_analysis(**attributes),
    )


def build_excluded(ds: Dataset, reason: str) -> ExcludedInstance:
    """Build an instance that was not given to the models."""
    return ExcludedInstance(instance=build_instance(ds), reason=reason)


def build_study(
    images: Sequence[AnalysedInstance],
    excluded: Sequence[ExcludedInstance] = (),
    *,
    version: int = 1,
    supersedes: tuple[ResultReference, ...] = (),
    standing: tuple[int, ...] = (),
) -> StudyAnalysis:
    """Build the answer for a study of these images."""
    instances = tuple(part.instance for part in (*images, *excluded))
    study = Study(
        study_instance_uid=str(instances[0].header.StudyInstanceUID),
        revision=f"{version:064x}",
        version=version,
        created_at=datetime(2026, 1, 2, 23, 30, 5, tzinfo=UTC),
        instances=instances,
        supersedes=supersedes,
        standing=standing,
    )
    spoke = dict.fromkeys(model for image in images for model in image.analysis.models)
    models = tuple(dict.fromkeys((*MODELS, *spoke)))
    return StudyAnalysis(study=study, images=tuple(images), excluded=tuple(excluded), models=models)
