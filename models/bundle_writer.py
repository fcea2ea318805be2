"""Write a trained model as a bundle folder."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from inference.bundle import KERAS, ONNX, REFERENCE, SCOPE, Answer, Manifest, write_manifest
from inference.scope import Scope
from models.card import render_card
from models.export import export_onnx
from models.predictions import TABLE, Predictions, write_predictions
from models.reference import build_reference, write_reference


@dataclass(frozen=True, kw_only=True)
class Made:
    """A trained model with everything that a bundle says about it."""

    model: keras.Model
    fields: dict[str, Any]
    """Of the manifest, those that the task decides."""
    figures: dict[str, Any]
    """Of `metrics.json`."""
    predictions: Predictions
    """Out of fold; every figure can be computed from them."""
    scope: Scope | None = None
    """Only of a region model."""


def write_bundle(folder: Path, made: Made, fields: Mapping[str, Any], metrics: Mapping[str, Any]) -> Manifest:
    """Write model, scope, reference, manifest, predictions, metrics and card; the pictures are drawn by the caller."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX).write_bytes(export_onnx(made.model).SerializeToString(deterministic=True))
    made.model.save(folder / KERAS)
    _compress(folder / KERAS)
    files = [ONNX, KERAS]
    if made.scope is not None:
        made.scope.save(folder / SCOPE)
        files.append(SCOPE)
    answers = [Answer.model_validate(answer) for answer in made.fields.get("answers", ())]
    if (reference := build_reference(made.predictions, answers)) is not None:
        write_reference(folder, reference)
        files.append(REFERENCE)
    manifest = write_manifest(folder, {**fields, **made.fields}, tuple(files))
    write_predictions(folder / TABLE, made.predictions)
    metrics = {**metrics, "figures": made.figures}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(render_card(manifest, metrics), encoding="utf-8")
    return manifest


def _compress(path: Path) -> None:
    """Compress the archive in place: kernels at half precision are half zeros in Keras' 32-bit file."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=zipfile.ZIP_LZMA)
