"""`dicom-node demo`: from an empty machine to results in an archive, with nothing simulated but the hospital."""

import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pydicom import dcmread
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dicom_node.demo.archives import (
    ARCHIVE_AE_TITLE,
    NODE_AE_TITLE,
    Archive,
    BuiltinArchive,
    OrthancArchive,
    find_free_port,
    find_program,
    send_files,
)
from dicom_node.demo.gallery import Answer, write_gallery
from dicom_node.demo.node import RunningNode, running_node
from dicom_node.demo.studies import SAMPLES, DemoStudy, gather_studies
from dicom_node.demo.table import build_table
from dicom_node.demo.viewer import (
    NoViewerError,
    address_of,
    configure_dicomweb,
    fetch_viewer,
    name_missing,
    running_viewer,
)
from dicom_node.errors import NodeError
from dicom_node.identity import MANUFACTURER
from dicom_node.operate.terminal import print_entry
from dicom_node.store import RevisionState, RevisionStatus

_PATIENCE_S = 120
"""How long one more study may take before the demonstration gives up on it."""


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Have SIGTERM, and SIGHUP of a terminal that is closed, do what Ctrl+C does, so that nothing is left running."""
    ending = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]
    for number in ending:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ending:
            signal.signal(number, signal.SIG_DFL)


@_ending_in_order()
def run_demo(paths: Sequence[Path], *, out: Path, archive: str, viewer: bool) -> int:
    """Run the demonstration; returns 0 only if every study got its answer.

    With `viewer` it ends in one: OHIF shows what Orthanc has, until the demonstration is interrupted.
    """
    console = Console()
    work = _empty_folder(out) / "work"
    work.mkdir()
    files = prepare_viewer(console, archive) if viewer else None
    studies = gather_studies(list(paths) or [SAMPLES], work / "sent", console)
    if not studies:
        console.print("[red]no images found[/red]")
        return 1
    with ExitStack() as stack:
        node_port = find_free_port()
        beside = _choose_archive(archive, work, node_port, viewed=files is not None)
        stack.callback(beside.stop)
        beside.start()
        console.print(f"{beside.name} listens on 127.0.0.1:{beside.port} as {ARCHIVE_AE_TITLE}")
        node = stack.enter_context(running_node(work, node_port, beside.port))
        console.print(f"the node listens on 127.0.0.1:{node_port} as {NODE_AE_TITLE}")
        answers, reasons = send_and_wait(studies, beside, node, console)
        console.print(build_table(answers))
        complete = {one.label for one in answers if one.complete}
        missing = [study.label for study in studies if study.label not in complete]
        page = write_gallery(out, answers, f"{len(answers)} of {len(studies)} studies, by way of {beside.name}")
        for label in missing:
            reason = reasons.get(label, "not every result came back")
            print_entry(console, "no answer", [f"{label}: {reason}"], style="red", column=11)
        if missing:
            console.print(f"the log is {work / 'node.log'}", soft_wrap=True)
            return 1
        console.print(f"look at it: {page.resolve().as_uri()}", soft_wrap=True)
        if files is not None and isinstance(beside, OrthancArchive):
            show_until_interrupted(files, beside, answers, console)
    shutil.rmtree(work)
    return 0


def prepare_viewer(console: Console, archive: str) -> Path | None:
    """Return the viewer's files, or None and say why it cannot be shown."""
    missing = name_missing() if archive != "builtin" else "Orthanc, which --archive builtin leaves out"
    if missing:
        console.print(f"no viewer at the end, for lack of: {missing}")
        return None
    try:
        with console.status("getting the viewer (50 MB, once)"):
            return fetch_viewer()
    except NoViewerError as error:
        console.print(f"no viewer at the end: {error}")
        return None


def show_until_interrupted(files: Path, archive: OrthancArchive, answers: Sequence[Answer], console: Console) -> None:
    """Serve the viewer on what the archive holds, and print where each study is open."""
    with running_viewer(files, archive.http_port) as viewer, suppress(KeyboardInterrupt):
        console.print("\nin a viewer, until you press Ctrl+C:")
        for answer in answers:
            console.print(f"  {answer.label}: {address_of(viewer, answer.study_instance_uid)}", soft_wrap=True)
        signal.pause()


def _empty_folder(out: Path) -> Path:
    """Make the output folder, or empty it where an earlier demonstration made it; refuse any other."""
    mark = out / ".made-by-dicom-node-demo"
    if out.exists() and any(out.iterdir()):
        if not mark.exists():
            raise NodeError(f"{out} is not empty and not from an earlier demonstration: choose another with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return out


def _choose_archive(wish: str, work: Path, node_port: int, *, viewed: bool) -> Archive:
    if wish == "orthanc" or (wish == "auto" and find_program("Orthanc")):
        return OrthancArchive(work.resolve() / "orthanc", node_port, extra=configure_dicomweb() if viewed else None)
    return BuiltinArchive()


def send_and_wait(
    studies: Sequence[DemoStudy], archive: Archive, node: RunningNode, console: Console
) -> tuple[list[Answer], dict[str, str]]:
    """Return the answers, and for each study without one the reason."""
    answers: list[Answer] = []
    reasons: dict[str, str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        sending = progress.add_task("sent", total=len(studies))
        answered = progress.add_task("answered", total=len(studies))
        for study in studies:
            node.check()
            _send(study, archive, node.port)
            progress.advance(sending)
        waiting = list(studies)
        last_news = time.monotonic()
        while waiting and time.monotonic() - last_news < _PATIENCE_S:
            node.check()
            states = {one.study_instance_uid: one for one in node.store.status(10_000)}
            for study in [one for one in waiting if one.study_instance_uid in states]:
                state = states[study.study_instance_uid]
                if state.state is RevisionState.DONE:
                    answers.append(_fetch(study, state, archive))
                elif state.state is RevisionState.FAILED:
                    reasons[study.label] = state.reason
                else:
                    continue
                waiting.remove(study)
                last_news = time.monotonic()
                progress.advance(answered)
            time.sleep(0.2)
    order = [study.study_instance_uid for study in studies]
    answers.sort(key=lambda answer: order.index(answer.study_instance_uid))
    return answers, reasons | {study.label: f"none within {_PATIENCE_S} s of the one before" for study in waiting}


def _send(study: DemoStudy, archive: Archive, node_port: int) -> None:
    if archive.sends_by_itself:
        send_files(study.files, port=archive.port, calling="MODALITY", called=ARCHIVE_AE_TITLE)
    else:
        send_files(study.files, port=node_port, calling=ARCHIVE_AE_TITLE, called=NODE_AE_TITLE)


def _fetch(study: DemoStudy, status: RevisionStatus, archive: Archive) -> Answer:
    own = [ds for ds in archive.instances_of(study.study_instance_uid) if ds.get("Manufacturer") == MANUFACTURER]
    own.sort(key=lambda ds: (int(ds.SeriesNumber), int(ds.InstanceNumber)))
    return Answer(
        label=study.label,
        study_instance_uid=study.study_instance_uid,
        findings=status.findings,
        seconds=status.changed_at - status.last_received_at,
        sources=tuple(dcmread(path) for path in study.files),
        summaries=tuple(ds for ds in own if "PixelData" in ds and "SourceImageSequence" not in ds),
        captures=tuple(ds for ds in own if "SourceImageSequence" in ds),
        reports=tuple(ds for ds in own if "EncapsulatedDocument" in ds),
    )
