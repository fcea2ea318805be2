"""A node under fire: it is killed while studies pour in, started again, and what the archive holds is counted."""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from builders import build_dx, phantom
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid
from raw_peer import DX, EXPLICIT, RawPeer, status_of
from receiving import encode
from running import Node, children_of, results_among, wait_for

from dicom_node.demo.archives import OrthancArchive, find_free_port
from dicom_node.result_sets import to_part10
from dicom_node.store import RevisionState, RevisionStatus
from inference.testing import build_tiny_bundles

PIXELS = phantom(128, 100)
PATIENCE_S = 240
"""How long the node may take for whatever is waited for, on a machine that is busy with other things."""
_UNDONE = """
SELECT (SELECT COUNT(*) FROM studies WHERE first_open_at IS NOT NULL),
       (SELECT COUNT(*) FROM revisions WHERE state IN ('queued', 'analysing')),
       (SELECT COUNT(*) FROM revisions WHERE state = 'delivering')
     + (SELECT COUNT(*) FROM deliveries WHERE state IN ('pending', 'sent'))
"""

_UNENDED = "SELECT COUNT(*) FROM workflow_status WHERE status IN ('PENDING', 'ENQUEUED')"


@dataclass
class Sent:
    """What a sender knows of one study."""

    attempted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)


class Bench:
    """A real Orthanc, a node that delivers to it, and senders that keep book."""

    def __init__(
        self, folder: Path, *, environment: dict[str, str] | None = None, crashes_per_study: int | None = None
    ) -> None:
        """A study may be hit by `crashes_per_study`; None: as often as by default."""
        port = find_free_port()
        self.archive = OrthancArchive(folder / "archive", node_port=port)
        limit = f"crashes_per_study = {crashes_per_study}" if crashes_per_study else ""
        bundles = build_tiny_bundles(folder / "bundles", region="LEG")
        self.node = Node(
            folder / "node",
            {"archive": self.archive.port},
            quiet_s=0.5,
            port=port,
            more=f'[models]\nbundles = "{bundles}"\n\n[analysis]\n{limit}',
            environment=environment,
        )
        # What an archive has lost is lost at once: otherwise the node would look for it for ten minutes.
        text = self.node.config.read_text()
        text = text.replace("commitment_deadline_s = 5", "commitment_deadline_s = 5\nverify_deadline_s = 1")
        self.node.config.write_text(text)
        self.sent: dict[str, Sent] = defaultdict(Sent)

    def start(self) -> None:
        """Start both."""
        self.archive.start()
        self.node.start()

    def stop(self) -> None:
        """Stop both."""
        if self.node.process is not None:
            self.node.stop()
        self.archive.stop()

    # Sending

    def send_study(self, images: int = 1, *, patience: random.Random | None = None) -> str:
        """Send a study, each image until it is acknowledged; with `patience` a sender may also give up an image."""
        study, series = generate_uid(), generate_uid()
        for _ in range(images):
            ds = build_dx(PIXELS, StudyInstanceUID=study, SeriesInstanceUID=series)
            self.sent[study].attempted.add(ds.SOPInstanceUID)
            deadline = time.monotonic() + PATIENCE_S
            while not self._send(ds):
                if patience is not None and patience.random() < 0.2:
                    break
                assert time.monotonic() < deadline, "the node takes nothing any more"
                time.sleep(0.1)
        return study

    def _send(self, ds: Dataset) -> bool:
        with (
            contextlib.suppress(OSError, AssertionError, KeyError, struct.error),
            RawPeer(self.node.port, timeout_s=30) as peer,
        ):
            peer.associate([(DX, [EXPLICIT])], calling="ARCHIVE")
            if status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0:
                self.sent[ds.StudyInstanceUID].acknowledged.add(ds.SOPInstanceUID)
                return True
        return False

    @contextlib.contextmanager
    def load(self, senders: int, *, seed: int) -> Iterator[threading.Semaphore]:
        """Let senders pour studies of one to three images in until the block ends; each study takes one permit."""
        stop, permits = threading.Event(), threading.Semaphore(senders)

        def pour(chance: random.Random) -> None:
            while not stop.wait(chance.uniform(0, 0.6)):
                if permits.acquire(timeout=0.2):
                    self.send_study(chance.randint(1, 3), patience=chance)

        # Chance that can be had again, not secrets.
        threads = [threading.Thread(target=pour, args=[random.Random(seed + one)]) for one in range(senders)]  # noqa: S311
        for thread in threads:
            thread.start()
        try:
            yield permits
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    # Killing

    def kill_something(self, chance: random.Random) -> str:
        """Kill a process of the node, or all of it; return which. All of it is started again at once."""
        victims = self._processes()
        kind = chance.choice(["receiver process"] * 3 + ["receiver"] + ["worker"] * 4 + ["node"] * 2)
        if kind == "node" or not victims[kind]:
            self.node.kill()
            self.node.start()
            return "node"
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(victims[kind]), signal.SIGKILL)
        return kind

    def _processes(self) -> dict[str, list[int]]:
        assert self.node.process is not None
        found: dict[str, list[int]] = {"receiver process": [], "receiver": [], "worker": []}
        for child in children_of(self.node.process.pid, deep=False):
            words = _command_of(child)
            if "receiver" in words:
                found["receiver"].append(child)
                found["receiver process"] += children_of(child, deep=False)
            elif "worker" in words:
                found["worker"].append(child)
        return found

    def wait_for_worker(self, since: float) -> None:
        """Wait until the worker has swept after a moment."""
        heartbeat = self.node.settings.node.heartbeat
        wait_for(
            "the worker sweeps",
            lambda: heartbeat.exists() and heartbeat.stat().st_mtime > since,
            within_s=PATIENCE_S,
        )

    # Counting

    def wait_until_done(self) -> None:
        """Wait until nothing is open or under way; not longer than PATIENCE_S for the next change of anything."""
        left, deadline = self._count_undone(), time.monotonic() + PATIENCE_S
        while sum(left) > 0:
            assert time.monotonic() < deadline, f"for {PATIENCE_S} s nothing has changed: {left}"
            time.sleep(0.5)
            if (now := self._count_undone()) != left:
                left, deadline = now, time.monotonic() + PATIENCE_S

    def _count_undone(self) -> tuple[int, ...]:
        """Count open studies, revisions without results, results on their way, and workflows that have not ended.

        A workflow whose worker died after the last that it had to do goes on when the next one starts, to no effect.
        """
        try:
            unended = self._ask("workflow.sqlite", _UNENDED)
        except sqlite3.OperationalError:
            unended = (1,)  # the first worker has not made it yet
        return (*self._ask("node.sqlite", _UNDONE), *unended)

    def _ask(self, database: str, query: str) -> tuple[int, ...]:
        path = f"file:{self.node.settings.node.data_dir / database}?mode=ro"
        with closing(sqlite3.connect(path, uri=True, timeout=PATIENCE_S)) as connection:
            row: tuple[int, ...] = connection.execute(query).fetchone()
        return row

    def list_revisions(self) -> dict[str, list[RevisionStatus]]:
        """List what became of every study, version by version."""
        found: dict[str, list[RevisionStatus]] = defaultdict(list)
        with closing(self.node.store()) as store:
            for one in sorted(store.status(1_000_000), key=lambda one: one.version):
                found[one.study_instance_uid].append(one)
        return found

    def check(self, study: str, revisions: Sequence[RevisionStatus] | None = None) -> int:
        """Assert that a study was analysed once for each of its revisions; return how many there are."""
        sent = self.sent[study]
        if revisions is None:
            revisions = self.list_revisions()[study]
        with closing(self.node.store()) as store:
            members = [
                sorted(row.sop_instance_uid for row in store.revision(study, one.digest).instances) for one in revisions
            ]
        if not sent.acknowledged and not revisions:
            return 0
        assert [one.state for one in revisions] == [RevisionState.DONE] * len(revisions)
        assert not [said.reason for one in revisions for said in one.findings if said.decision == "not analysed"]
        assert sent.acknowledged <= set(members[-1]) <= sent.attempted
        assert all(each.verified_at for one in revisions for each in one.objects)
        held = self.archive.instances_of(study)
        captures, reports = results_among(held)
        pictures = [ds for ds in held if ds.SOPClassUID == SecondaryCaptureImageStorage]
        assert len(reports) == len(pictures) - len(captures) == len(revisions)  # a summary for each report
        by_series: dict[str, list[str]] = defaultdict(list)
        for ds in captures:
            by_series[ds.SeriesInstanceUID].append(ds.SourceImageSequence[0].ReferencedSOPInstanceUID)
        assert sorted(sorted(sources) for sources in by_series.values()) == sorted(members)
        return len(revisions)

    def lose(self, study: str) -> None:
        """Let the archive lose a capture of a study."""
        captures, _ = results_among(self.archive.instances_of(study))
        self.take_from_archive(captures[0].SOPInstanceUID)

    def is_committed(self, study: str) -> bool:
        """Tell whether the archive has vouched for every result of a study."""
        return all(each.committed_at for one in self.list_revisions()[study] for each in one.objects)

    def take_from_archive(self, sop_instance_uid: str) -> Dataset:
        """Delete an instance from the archive; return it."""
        found = json.loads(self.archive.post("/tools/lookup", sop_instance_uid.encode()))
        place = next(one["Path"] for one in found if one["Type"] == "Instance")
        ds = dcmread(BytesIO(self.archive.get(f"{place}/file")))
        connection = http.client.HTTPConnection("127.0.0.1", self.archive.http_port, timeout=30)
        connection.request("DELETE", place)
        assert connection.getresponse().status == http.HTTPStatus.OK
        connection.close()
        return ds

    def give_to_archive(self, ds: Dataset) -> None:
        """Upload an instance to the archive."""
        self.archive.post("/instances", to_part10(ds))

    def check_files(self) -> None:
        """Assert that each file of the node has its row and each row its file, and that nothing is half done."""
        node = self.node.settings.node
        with closing(sqlite3.connect(node.data_dir / "node.sqlite", isolation_level=None)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            received = {path for (path,) in database.execute("SELECT path FROM instances")}
            results = {path for (path,) in database.execute("SELECT path FROM results")}
        assert {str(path.relative_to(node.spool_dir)) for path in node.spool_dir.glob("*/*.dcm")} == received
        assert {str(path.relative_to(node.results_dir)) for path in _files(node.results_dir)} == results
        assert list((node.spool_dir / ".incoming").rglob("*.part")) == []
        assert list((node.spool_dir / ".conflicts").iterdir()) == []

    def check_all(self) -> str:
        """Wait until all is done, assert that nothing is lost, doubled or left over; say in a line what there was."""
        self.wait_until_done()
        known = self.list_revisions()
        revisions = sum(self.check(study, known[study]) for study in self.sent)
        self.check_files()
        acknowledged = sum(len(one.acknowledged) for one in self.sent.values())
        return (
            f"{len(self.sent)} studies, {acknowledged} acknowledged instances, {revisions} result sets in the archive"
        )


def say(line: str) -> None:
    """Print a line of the count: what a long run is for."""
    print(line, flush=True)  # noqa: T201  # as its docstring says


def _command_of(process: int) -> list[str]:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
