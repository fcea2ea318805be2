"""`dicom-node analyse`: files in, findings out, without any network."""

import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from dicom_node.analyse.analysis import Decode, RadiographPipeline, analyse_study
from dicom_node.analyse.decoder import Decoder
from dicom_node.analyse.picture import ImportedImage, SkippedFile, read_images
from dicom_node.assemble.selection import select_radiographs
from dicom_node.assemble.study import read_instance, reading_order
from dicom_node.languages import ENGLISH, LanguageCode
from dicom_node.operate.record import to_record
from dicom_node.operate.terminal import print_entry
from dicom_node.operate.written_results import is_own, name_folder, write_pictures, write_results
from dicom_node.settings import AnalysisSettings, HeaderPolicy, ModelSettings, Settings
from dicom_node.store import revision_digest
from dicom_node.values import Instance, Study
from inference.pipeline import Pipeline
from inference.probabilities import format_percentage
from inference.types import Decision, RadiographAnalysis

_AE_TITLE = "OFFLINE"
_COLOURS = {
    Decision.FRACTURE: "red",
    Decision.NO_FRACTURE: "green",
    Decision.UNCERTAIN: "yellow",
    Decision.NOT_ANALYSED: "yellow",
}


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How files are analysed."""

    pipeline: RadiographPipeline
    decode: Decode
    policy: HeaderPolicy
    limits: AnalysisSettings
    out: Path | None
    """Where pictures, reports and result objects are written; None: nowhere."""
    ae_title: str
    """Whose results they are."""
    language: LanguageCode
    """Of what is written."""


def analyse_files(
    paths: Sequence[Path],
    *,
    settings: Settings | None = None,
    as_json: bool,
    out: Path | None,
    language: LanguageCode | None,
    bundles: Path | None,
    runtime: str | None,
) -> None:
    """Analyse every image below `paths`; print for each, as soon as it is known, a JSON line or lines for people.

    With `out` the images of a study are taken together, and what is made of them is written there, in `language`.
    Models, limits and language are those of `settings`, the configuration of a site, where they are not given.
    """
    models = settings.models if settings else ModelSettings()
    pipeline = Pipeline.load(bundles or models.bundles, runtime=runtime or models.runtime, threads=models.threads)
    console = Console(highlight=False)
    limits = settings.analysis if settings else AnalysisSettings()
    with tempfile.TemporaryDirectory(prefix="dicom-node-") as folder, closing(Decoder(limits)) as decode:
        manner = Manner(
            pipeline=pipeline,
            decode=decode,
            policy=models.when_header_disagrees,
            limits=limits,
            out=out,
            ae_title=settings.node.ae_title if settings else _AE_TITLE,
            language=language or (settings.results.language if settings else ENGLISH.code),
        )
        for record in _analyse(read_images(paths, into=Path(folder)), manner):
            if as_json:
                print(json.dumps(record, ensure_ascii=False), flush=True)  # noqa: T201  # the command's output
            else:
                _show(console, record)


def _show(console: Console, record: dict[str, Any]) -> None:
    probability, named = record["fracture_probability"], record["fracture_type"]
    said = "" if probability is None else f"probability of a fracture {format_percentage(probability)}"
    typed = f"most probable type {named} {format_percentage(record['fracture_type_probability'])}" if named else ""
    sure = f"confidence {record['confidence']}" if record["confidence"] else ""
    lines = [record["path"], ", ".join(filter(None, [record["region"], said, sure, typed])), record["reason"]]
    print_entry(console, record["decision"], lines, style=_COLOURS[record["decision"]], column=14)


def _analyse(files: Iterable[ImportedImage | SkippedFile], manner: Manner) -> Iterator[dict[str, Any]]:
    images: dict[str, list[tuple[Path, Instance]]] = {}
    for file in files:
        if isinstance(file, ImportedImage) and manner.out is not None and is_own(file.source, manner.out):
            print(f"skipped {file.source}: a result of an earlier analysis", file=sys.stderr)  # noqa: T201  # likewise
            continue
        if isinstance(file, SkippedFile) and file.bystander:
            print(f"skipped {file.path}: {file.reason}", file=sys.stderr)  # noqa: T201  # the command's output
            continue
        if isinstance(file, SkippedFile):
            skipped = RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=file.reason)
            yield to_record(file.path, skipped)
            continue
        instance = read_instance(file.path)
        if manner.out is None:
            yield from _analyse_study([(file.source, instance)], manner)
        else:
            images.setdefault(str(instance.header.get("StudyInstanceUID", "")), []).append((file.source, instance))
    for members in images.values():
        yield from _analyse_study(members, manner)


def _analyse_study(members: Sequence[tuple[Path, Instance]], manner: Manner) -> Iterator[dict[str, Any]]:
    instances = tuple(sorted((instance for _, instance in members), key=reading_order))
    study = Study(
        study_instance_uid=str(instances[0].header.get("StudyInstanceUID", "")),
        revision=revision_digest(instance.sop_instance_uid for instance in instances),
        version=1,
        created_at=datetime.now(UTC),
        instances=instances,
    )
    analysis = analyse_study(
        study,
        select_radiographs(study),
        manner.pipeline,
        decode=manner.decode,
        policy=manner.policy,
        settings=manner.limits,
    )
    said = {image.instance.path: image.analysis for image in analysis.images}
    for left_out in analysis.excluded:
        reason = RadiographAnalysis(decision=Decision.NOT_ANALYSED, reason=left_out.reason)
        said[left_out.instance.path] = reason
    if manner.out is not None:
        folder = manner.out / name_folder(study.study_instance_uid)
        write_results(analysis, folder, ae_title=manner.ae_title, language=manner.language)
        write_pictures(members, analysis, said, folder, decode=manner.decode, language=manner.language)
    for source, instance in members:
        yield to_record(source, said[instance.path])
