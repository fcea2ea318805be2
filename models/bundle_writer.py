"""Write a trained model as a bundle folder."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from inference.bundle import KERAS, ONNX, SCOPE, Manifest, write_manifest
from inference.scope import Scope
from models.card import render_card
from models.export import export_onnx


def write_bundle(
    folder: Path,
    model: keras.Model,
    fields: Mapping[str, Any],
    metrics: Mapping[str, Any],
    *,
    command: str,
    scope: Scope | None = None,
) -> Manifest:
    """Write model, scope, manifest, metrics and card; the figures are drawn by the caller."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX).write_bytes(export_onnx(model).SerializeToString(deterministic=True))
    model.save(folder / KERAS)
    _compress(folder / KERAS)
    files = [ONNX, KERAS]
    if scope is not None:
        scope.save(folder / SCOPE)
        files.append(SCOPE)
    manifest = write_manifest(folder, fields, tuple(files))
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    (folder / "card.md").write_text(render_card(manifest, metrics, command), encoding="utf-8")
    return manifest


def _compress(path: Path) -> None:
    """Deflate the archive in place: kernels at half precision are half zeros in Keras' 32-bit file."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=zipfile.ZIP_DEFLATED)
