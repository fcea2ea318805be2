"""`dicom-node analyse`: files in, findings out, without any network."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from dicom_node.analyse.analysis import Decode, analyse_study
from dicom_node.analyse.decoder import Decoder
from dicom_node.analyse.picture import ImportedImage, SkippedFile, read_images
from dicom_node.assemble.selection import select_radiographs
from dicom_node.assemble.study import read_instance, reading_order
from dicom_node.encode.results import encode_study
from dicom_node.languages import LanguageCode
from dicom_node.operate.terminal import print_entry
from dicom_node.settings import AnalysisSettings, ModelSettings
from dicom_node.store import revision_digest
from dicom_node.values import Instance, Study, StudyAnalysis
from inference.pipeline import Pipeline
from inference.types import Decision, RadiographAnalysis

_AE_TITLE = "OFFLINE"
Write = Callable[[StudyAnalysis], None]
"""Writes the results of a study."""
_COLOURS = {
    Decision.FRACTURE: "red",
    Decision.NO_FRACTURE: "green",
    Decision.UNCERTAIN: "yellow",
    Decision.NOT_ANALYSED: "yellow",
}


def analyse_files(
    paths: Sequence[Path],
    *,
    as_json: bool,
    out: Path | None,
    language: LanguageCode,
    bundles: Path | None,
    runtime: str,
) -> None:
    """Analyse every image below `paths`; print for each, as soon as it is known, a JSON line or lines for people.

    With `out` the images of a study are taken together and its result objects, in `language`, are written there.
    """
    defaults = ModelSettings()
    pipeline = Pipeline.load(bundles or defaults.bundles, runtime=runtime, threads=defaults.threads)
    console = Console(highlight=False)
    decoder = closing(Decoder(AnalysisSettings()))
    with tempfile.TemporaryDirectory(prefix="dicom-node-") as folder, decoder as decode:
        write = partial(_write_results, out=out, language=language) if out is not None else None
        for record in _analyse(read_images(paths, into=Path(folder)), decode, pipeline, write):
            if as_json:
                print(json.dumps(record, ensure_ascii=False), flush=True)  # noqa: T201  # the command's output
            else:
                _show(console, record)


def _show(console: Console, record: dict[str, Any]) -> None:
    probability, named = record["fracture_probability"], record["fracture_type"]
    said = "" if probability is None else f"probability of a fracture {probability:.0%}"
    typed = f"most probable type {named} {record['fracture_type_probability']:.0%}" if named else ""
    lines = [record["path"], ", ".join(filter(None, [record["region"], said, typed])), record["reason"]]
    print_entry(console, record["decision"], lines, style=_COLOURS[record["decision"]], column=14)


def _analyse(
    files: Iterable[ImportedImage | SkippedFile], decode: Decode, pipeline: Pipeline, write: Write | None
) -> Iterator[dict[str, Any]]:
    images: dict[str, list[tuple[Path, Instance]]] = {}
    for file in files:
        if isinstance(file, SkippedFile) and file.bystander:
            print(f"skipped {file.path}: {file.reason}", file=sys.stderr)  # noqa: T201  # the command's output
            continue
        if isinstance(file, SkippedFile):
            skipped = RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=file.reason)
            yield to_record(file.path, skipped)
            continue
        instance = read_instance(file.path)
        if write is None:
            yield from _analyse_study([(file.source, instance)], decode, pipeline, None)
        else:
            images.setdefault(str(instance.header.get("StudyInstanceUID", "")), []).append((file.source, instance))
    for members in images.values():
        yield from _analyse_study(members, decode, pipeline, write)


def _analyse_study(
    members: Sequence[tuple[Path, Instance]], decode: Decode, pipeline: Pipeline, write: Write | None
) -> Iterator[dict[str, Any]]:
    instances = tuple(sorted((instance for _, instance in members), key=reading_order))
    study = Study(
        study_instance_uid=str(instances[0].header.get("StudyInstanceUID", "")),
        revision=revision_digest(instance.sop_instance_uid for instance in instances),
        version=1,
        created_at=datetime.now(UTC),
        instances=instances,
    )
    analysis = analyse_study(study, select_radiographs(study), pipeline, decode=decode)
    if write is not None:
        write(analysis)
    said = {image.instance.path: image.analysis for image in analysis.images}
    for left_out in analysis.excluded:
        reason = RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=left_out.reason)
        said[left_out.instance.path] = reason
    for source, instance in members:
        yield to_record(source, said[instance.path])


def _write_results(analysis: StudyAnalysis, *, out: Path, language: LanguageCode) -> None:
    folder = out / analysis.study.study_instance_uid
    folder.mkdir(parents=True, exist_ok=True)
    for result in encode_study(analysis, ae_title=_AE_TITLE, languages=(language,)):
        result.ds.save_as(folder / f"{result.ds.SOPInstanceUID}.dcm", enforce_file_format=True)


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
        "reason": analysis.reason,
        "rois": [[roi.x, roi.y, roi.width, roi.height] for roi in analysis.rois],
        "heatmap_peak": list(analysis.heatmap_peak) if analysis.heatmap_peak else None,
        "flags": list(analysis.flags),
        "models": [{"name": one.name, "version": one.version, "digest": one.digest} for one in analysis.models],
    }
