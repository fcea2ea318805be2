"""`dicom-node demo`: from an empty machine to results in an archive, with nothing simulated but the hospital."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydicom import dcmread
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from dicom_node.deliver import verify_destination
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
from dicom_node.demo.studies import SAMPLES, DemoStudy, gather_studies
from dicom_node.errors import AssociationError, NodeError
from dicom_node.identity import MANUFACTURER
from dicom_node.settings import Destination, load_settings
from dicom_node.store import RevisionState, RevisionStatus, Store

_QUIET_S = 2
_PATIENCE_S = 120
"""How long one more study may take before the demonstration gives up on it."""

_CONFIGURATION = """\
[node]
ae_title = "{node}"
port = {node_port}
data_dir = "{folder}/node"

[[senders]]
ae_title = "{archive}"
networks = ["127.0.0.0/8"]

[[destinations]]
name = "archive"
ae_title = "{archive}"
host = "127.0.0.1"
port = {archive_port}

[completion]
quiet_s = {quiet_s}
max_wait_s = 60
sweep_s = 0.2

[receive]
minimum_free_mb = 50

[web]
port = {web_port}
"""


def run_demo(paths: Sequence[Path], *, out: Path, archive: str) -> int:
    """Run the demonstration; returns 0 only if every study got its answer."""
    console = Console()
    work = _empty_folder(out) / "work"
    work.mkdir()
    studies = gather_studies(list(paths) or [SAMPLES], work / "sent", console)
    if not studies:
        console.print("[red]no images found[/red]")
        return 1
    answers: list[Answer] = []
    with ExitStack() as stack:
        node_port = find_free_port()
        beside = _choose_archive(archive, work, node_port)
        stack.callback(beside.stop)
        beside.start()
        console.print(f"{beside.name} listens on 127.0.0.1:{beside.port} as {ARCHIVE_AE_TITLE}")
        store = stack.enter_context(_running_node(work, node_port, beside.port))
        console.print(f"the node listens on 127.0.0.1:{node_port} as {NODE_AE_TITLE}")
        answers = _send_and_wait(studies, beside, node_port, store, console)
    console.print(_table(answers))
    missing = [study.label for study in studies if study.label not in {one.label for one in answers if one.complete}]
    page = write_gallery(out, answers, f"{len(answers)} of {len(studies)} studies, by way of {beside.name}")
    if missing:
        console.print(f"[red]no complete answer for {', '.join(missing)}[/red]; the log is {work / 'node.log'}")
        return 1
    shutil.rmtree(work)
    console.print(f"look at it: {page.resolve().as_uri()}", soft_wrap=True)
    return 0


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


def _choose_archive(wish: str, work: Path, node_port: int) -> Archive:
    if wish == "orthanc" or (wish == "auto" and find_program("Orthanc")):
        return OrthancArchive(work.resolve() / "orthanc", node_port)
    return BuiltinArchive()


@contextmanager
def _running_node(work: Path, node_port: int, archive_port: int) -> Iterator[Store]:
    config = work / "node.toml"
    config.write_text(
        _CONFIGURATION.format(
            node=NODE_AE_TITLE,
            archive=ARCHIVE_AE_TITLE,
            folder=work.resolve().as_posix(),
            node_port=node_port,
            archive_port=archive_port,
            web_port=find_free_port(),
            quiet_s=_QUIET_S,
        )
    )
    log = work / "node.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "dicom_node", "serve", "--config", str(config), "--verbose"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_until_ready(node_port, process, log)
        store = Store(load_settings(config).database_url)
        yield store
        store.close()
    finally:
        process.terminate()
        process.wait()


def _wait_until_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    node = Destination(name="node", ae_title=NODE_AE_TITLE, host="127.0.0.1", port=port)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            verify_destination(node, ARCHIVE_AE_TITLE)
        except AssociationError:
            time.sleep(0.1)
        else:
            return
    raise NodeError(f"the node did not start; its log is {log}")


def _send_and_wait(
    studies: Sequence[DemoStudy], archive: Archive, node_port: int, store: Store, console: Console
) -> list[Answer]:
    answers: dict[str, Answer] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        sending = progress.add_task("sent", total=len(studies))
        answered = progress.add_task("answered", total=len(studies))
        for study in studies:
            _send(study, archive, node_port)
            progress.advance(sending)
        last_news = time.monotonic()
        while len(answers) < len(studies) and time.monotonic() - last_news < _PATIENCE_S:
            states = {one.study_instance_uid: one for one in store.status(10_000)}
            for study in studies:
                state = states.get(study.study_instance_uid)
                if study.label in answers or state is None or state.state is not RevisionState.DONE:
                    continue
                answers[study.label] = _fetch(study, state, archive)
                last_news = time.monotonic()
                progress.advance(answered)
            time.sleep(0.2)
    return [answers[study.label] for study in studies if study.label in answers]


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
        captures=tuple(ds for ds in own if "PixelData" in ds),
        reports=tuple(ds for ds in own if "EncapsulatedDocument" in ds),
    )


def _table(answers: Sequence[Answer]) -> Table:
    table = Table(
        Column("study", overflow="fold"),
        Column("images", justify="right"),
        Column("region", no_wrap=True),
        Column("finding", no_wrap=True),
        Column("prob.", justify="right"),
        Column("sec.", justify="right"),
        Column("returned", no_wrap=True),
        caption="prob.: probability of a fracture; sec.: from the last image to the archived result, "
        f"{_QUIET_S} s of them waiting for more images; SC: Secondary Capture",
        caption_justify="left",
    )
    for answer in answers:
        whole = [answer.label, str(len(answer.sources))], [f"{answer.seconds:.1f}", _returned(answer)]
        for finding in answer.findings:
            probability = "-" if finding.probability is None else f"{finding.probability:.0%}"
            table.add_row(*whole[0], finding.region or "-", finding.decision, probability, *whole[1])
            whole = ["", ""], ["", ""]
    return table


def _returned(answer: Answer) -> str:
    return f"{len(answer.captures)} SC, {len(answer.reports)} PDF"
