"""`dicom-node study`: what there is to know of one study. Whose it is, its report and pictures only if asked for."""

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from dicom_node.audit import AuditEvent, PersonAction
from dicom_node.errors import NodeError, StudyError
from dicom_node.operate.identities import Identity
from dicom_node.operate.pictures import Pictures, read_report
from dicom_node.operate.status import COLOURS, count, describe_destination, describe_finding, describe_images
from dicom_node.operate.study import ShownImage, ShownStudy, identify, look_at_study
from dicom_node.operate.terminal import print_entry
from dicom_node.operate.timeline import format_duration, format_time
from dicom_node.operate.trail import note_here
from dicom_node.settings import Settings
from dicom_node.store import RECEIVING, Store

_COLUMN = 22


class NoSuchStudyError(NodeError):
    """Nothing of such a study was received."""


def load_study(settings: Settings, study_instance_uid: str) -> ShownStudy:
    """Gather what there is to see of a study.

    Raises
    ------
    NoSuchStudyError
        Nothing of it was received.
    """
    with closing(Store(settings.database_url)) as store:
        study = look_at_study(settings, store, study_instance_uid)
    if study is None:
        # What was typed is not repeated: it may be a name.
        raise NoSuchStudyError("no such study was received; `dicom-node status --state all` lists those that were")
    return study


def show_study(settings: Settings, study: ShownStudy, *, patient: bool, as_json: bool) -> None:
    """Print the study; with `patient` whose it is, as the received files say, which is noted."""
    patients: list[Identity] | None = None
    if patient:
        patients = identify(study.received, settings.node.spool_dir)
        note_here(
            settings,
            AuditEvent.STUDY_VIEWED,
            action=PersonAction.VIEW_STUDY,
            study_instance_uid=study.entry.study_instance_uid,
        )
    if as_json:
        print(json.dumps(_to_content(settings, study, patients), indent=2))  # noqa: T201  # the command's output
        return
    console = Console(highlight=False)
    _show_state(console, study)
    _show_patients(console, patients)
    for image in study.images:
        print_entry(console, f"image {image.number}", _describe_image(image), style="bold", column=_COLUMN)
    for destination in study.entry.destinations:
        style = "red" if destination.parked else "green"
        print_entry(console, "destination", [describe_destination(destination)], style=style, column=_COLUMN)
    for result in study.results:
        path = settings.node.results_dir / result.path
        what = f"{result.kind}, {result.language}" if result.language else result.kind
        lines = [what, str(path) if path.is_file() else "its file is no longer kept"]
        print_entry(console, "result", lines, style="bold", column=_COLUMN)
    for position, moment in enumerate(study.timeline):
        after = f" (after {format_duration(moment.after_s)})" if position else ""
        print_entry(console, format_time(moment.at), [f"{moment.what}{after}"], style="", column=_COLUMN)
    print_entry(console, "you may", _list_deeds(study), style="cyan", column=_COLUMN)


def write_reports(settings: Settings, study: ShownStudy, path: Path) -> list[Path]:
    """Write the report as PDF, which is noted; where there are several, one for each language and patient, all of them.

    Raises
    ------
    NodeError
        There is none, or its file is no longer kept.
    """
    if not study.reports:
        raise NodeError("the study has no report; `dicom-node study` says what became of it")
    try:
        documents = [read_report(settings.node.results_dir / report.path) for report in study.reports]
    except FileNotFoundError:
        raise NodeError("the file of its report is no longer kept") from None
    _note_view(settings, study, PersonAction.VIEW_REPORT)
    paths = [path, *(path.with_stem(f"{path.stem}-{number}") for number in range(2, len(documents) + 1))]
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, document in zip(paths, documents, strict=True):
        target.write_bytes(document)
    return paths


def write_pictures(settings: Settings, study: ShownStudy, folder: Path) -> tuple[list[Path], list[str]]:
    """Write each image as received and with its overlay, as PNG, which is noted; decoded in a process of its own.

    They go below a folder of the study's own, so that no picture of another patient lies among them.
    Returns what was written, and why other pictures were not.
    """
    folder /= study.entry.study_instance_uid
    folder.mkdir(parents=True, exist_ok=True)
    _note_view(settings, study, PersonAction.VIEW_PICTURE)
    files = {one.sop_instance_uid: settings.node.spool_dir / one.path for one in study.received}
    results = {one.sop_instance_uid: settings.node.results_dir / one.path for one in study.results}
    written: list[Path] = []
    problems: list[str] = []
    with closing(Pictures(settings.analysis)) as pictures:
        for image in study.images:
            wanted = [(f"image-{image.number}.png", pictures.original, files[image.sop_instance_uid])]
            if image.overlay:
                wanted.append((f"image-{image.number}-overlay.png", pictures.overlay, results[image.overlay]))
            for name, render, source in wanted:
                if not source.is_file():
                    problems.append(f"{name}: its file is no longer kept")
                    continue
                try:
                    (folder / name).write_bytes(render(source))
                except StudyError as error:
                    problems.append(f"{name}: there is no picture: {error}")
                else:
                    written.append(folder / name)
    return written, problems


def _note_view(settings: Settings, study: ShownStudy, action: PersonAction) -> None:
    uid = study.entry.study_instance_uid
    note_here(settings, AuditEvent.STUDY_VIEWED, action=action, study_instance_uid=uid)


def _show_state(console: Console, study: ShownStudy) -> None:
    entry = study.entry
    version = f"version {entry.version}, " if entry.version else ""
    images = describe_images(count(entry.images, "image"), entry.expectation)
    lines = [entry.study_instance_uid, f"{version}{images}", entry.reason]
    print_entry(console, entry.state, lines, style=COLOURS.get(entry.state, "yellow"), column=_COLUMN)


def _show_patients(console: Console, patients: list[Identity] | None) -> None:
    if patients is None:
        return
    if len(patients) > 1:
        said = ["the images of this study do not name one and the same patient"]
        print_entry(console, "WRONG", said, style="bold red", column=_COLUMN)
    for one in patients:
        print_entry(console, "patient", [one.says], style="bold", column=_COLUMN)
    if not patients:
        print_entry(console, "patient", ["not known: no received file is kept"], style="bold", column=_COLUMN)


def _describe_image(image: ShownImage) -> list[str]:
    said = describe_finding(image.finding) if image.finding else "nothing was said of it yet"
    return [image.sop_instance_uid, said, "" if image.has_file else "its file is no longer kept"]


def _list_deeds(study: ShownStudy) -> list[str]:
    """List the commands that do what the page of the study has buttons for."""
    uid = study.entry.study_instance_uid
    deeds = [f"dicom-node complete {uid}"] if study.entry.state == RECEIVING else []
    deeds += [f"dicom-node retry {uid}"] if study.can_retry else []
    return deeds + [f"dicom-node send {uid} {name}" for name in study.others]


def _to_content(settings: Settings, study: ShownStudy, patients: list[Identity] | None) -> dict[str, object]:
    content: dict[str, object] = {
        "study": asdict(study.entry),
        "images": [asdict(one) for one in study.images],
        "results": [
            asdict(one) | {"has_file": (settings.node.results_dir / one.path).is_file()} for one in study.results
        ],
        "timeline": [asdict(one) for one in study.timeline],
        "commands": _list_deeds(study),
    }
    return content if patients is None else content | {"patients": [asdict(one) for one in patients]}
