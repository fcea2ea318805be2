"""A node under load: archives that count what they get, senders that wait for answers, and what its processes use."""

import statistics
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import psutil
from builders import build_dx, phantom
from pydicom import dcmread
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from raw_peer import DX, EXPLICIT, RELEASE_RP, RawPeer, status_of
from receiving import encode

PIXELS = phantom(128, 100)
PATIENCE_S = 600
"""How long a sender waits for an answer or a report before the test fails."""


SUMMARY = ""
"""Stands for the image of a Secondary Capture that shows none."""


class CountingArchive:
    """A Storage SCP that notes what comes and when, and takes `delay_s` over each object; it offers no proofs."""

    def __init__(self, *, delay_s: float = 0.0, port: int = 0) -> None:
        self.reports: dict[str, set[str]] = defaultdict(set)
        """SOP Instance UIDs of the reports, by study."""
        self.captures: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        """SOP Instance UIDs of the Secondary Captures, by study and image; the summary's image is none."""
        self.times: Counter[str] = Counter()
        """How often each object came."""
        self._arrived: dict[str, float] = {}
        self._news = threading.Condition()
        self._delay_s = delay_s
        ae = AE(ae_title="ARCHIVE")
        ae.supported_contexts = []
        for sop_class in (Verification, SecondaryCaptureImageStorage, EncapsulatedPDFStorage):
            ae.add_supported_context(sop_class)
        handlers = [(evt.EVT_C_STORE, self._store)]
        self._server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
        self.port = self._server.server_address[1]

    def _store(self, event: evt.Event) -> int:
        ds = dcmread(BytesIO(event.encoded_dataset()), stop_before_pixels=True)
        time.sleep(self._delay_s)
        with self._news:
            self.times[ds.SOPInstanceUID] += 1
            if ds.SOPClassUID == EncapsulatedPDFStorage:
                self.reports[ds.StudyInstanceUID].add(ds.SOPInstanceUID)
                self._arrived.setdefault(ds.StudyInstanceUID, time.monotonic())
            else:
                sources = ds.get("SourceImageSequence", [])
                source = str(sources[0].ReferencedSOPInstanceUID) if sources else SUMMARY
                self.captures[ds.StudyInstanceUID][source].add(ds.SOPInstanceUID)
            self._news.notify_all()
        return 0x0000

    def wait_for_report(self, study: str) -> float:
        """Wait for the report of a study; return when it came, by the monotonic clock."""
        with self._news:
            assert self._news.wait_for(lambda: study in self._arrived, PATIENCE_S), "a report never came"
            return self._arrived[study]

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()


@dataclass
class Count:
    """What became of the acknowledged studies in one archive."""

    complete: int = 0
    lost: int = 0
    """Studies without a report or summary, or with an image that has no Secondary Capture."""
    doubled: int = 0
    """Reports and Secondary Captures beyond the one that each study and each image is to have."""
    again: int = 0
    """Objects that were sent once more under the same UID: the archive has them once."""


def count(archive: CountingArchive, acknowledged: dict[str, set[str]]) -> Count:
    """Count what an archive has of the studies that were acknowledged."""
    found = Count(again=sum(archive.times.values()) - len(archive.times))
    for study, images in acknowledged.items():
        reports, captures = archive.reports.get(study, set()), archive.captures.get(study, {})
        is_whole = bool(reports) and set(captures) == {SUMMARY, *images}
        found.complete += is_whole
        found.lost += not is_whole
        found.doubled += max(len(reports) - 1, 0) + sum(len(uids) - 1 for uids in captures.values())
    return found


class Senders:
    """Many associations at once, each sending a study and waiting for its report before the next."""

    def __init__(self, port: int, answering: CountingArchive, *, associations: int) -> None:
        self._port, self._answering, self._associations = port, answering, associations
        self._all_there = threading.Barrier(associations)
        self.acknowledged: dict[str, set[str]] = {}
        """SOP Instance UIDs by Study Instance UID."""
        self.latencies_s: list[float] = []
        """From the last image's acknowledgement to the report's arrival."""

    def send(self, studies: int) -> float:
        """Send so many studies; return how many seconds it took until the last report was there."""
        numbers, lock = iter(range(studies)), threading.Lock()

        def take() -> Iterator[int]:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                yield number

        begun = time.monotonic()
        with ThreadPoolExecutor(self._associations) as threads:
            for sent in [threads.submit(self._send_over_one, take) for _ in range(self._associations)]:
                sent.result()
        return time.monotonic() - begun

    def _send_over_one(self, take: Callable[[], Iterator[int]]) -> None:
        with RawPeer(self._port, timeout_s=PATIENCE_S) as peer:
            peer.associate([(DX, [EXPLICIT])], calling="ARCHIVE")
            self._all_there.wait(PATIENCE_S)
            for number in take():
                study = self._send_study(peer, images=2 if number % 4 == 0 else 1)
                acknowledged_at = time.monotonic()
                self.latencies_s.append(self._answering.wait_for_report(study) - acknowledged_at)
            assert peer.release() == RELEASE_RP

    def _send_study(self, peer: RawPeer, *, images: int) -> str:
        study, series = generate_uid(), generate_uid()
        for _ in range(images):
            ds = build_dx(PIXELS, StudyInstanceUID=study, SeriesInstanceUID=series)
            assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
            self.acknowledged.setdefault(study, set()).add(ds.SOPInstanceUID)
        return study


@dataclass(frozen=True)
class Growth:
    """What one process of the node came to use: medians over the second and over the last quarter of the time."""

    name: str
    memory_mb: tuple[float, float]
    threads: tuple[float, float]

    @property
    def memory_growth_mb(self) -> float:
        """Resident memory, 10**6 bytes."""
        return self.memory_mb[1] - self.memory_mb[0]

    @property
    def thread_growth(self) -> float:
        """Number of threads."""
        return self.threads[1] - self.threads[0]

    def __str__(self) -> str:
        """Say it in a line."""
        return (
            f"{self.name}: {self.memory_mb[1]:.0f} MB ({self.memory_growth_mb:+.1f}), {self.threads[1]:.0f} threads"
            f" ({self.thread_growth:+.0f})"
        )


class Watch:
    """Looks once a second at what each process of the node uses."""

    def __init__(self, supervisor: int) -> None:
        self._processes = list(name_processes(psutil.Process(supervisor)))
        self._seen: dict[str, list[tuple[float, int]]] = {name: [] for name, _ in self._processes}
        self._stop = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look while the block runs; fails where a process has ended by then."""
        thread = threading.Thread(target=self._look)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()
        assert all(process.is_running() for _, process in self._processes), "a process has ended"

    def _look(self) -> None:
        while not self._stop.wait(1):
            for name, process in self._processes:
                with process.oneshot():
                    self._seen[name].append((process.memory_info().rss / 1e6, process.num_threads()))

    def growth(self) -> list[Growth]:
        """Return what each process came to use."""
        return [_grow(name, seen) for name, seen in self._seen.items()]


def _grow(name: str, seen: list[tuple[float, int]]) -> Growth:
    quarter = max(len(seen) // 4, 1)
    parts = (seen[quarter : 2 * quarter] or seen, seen[-quarter:])
    memory, threads = (tuple(statistics.median(one[of] for one in part) for part in parts) for of in (0, 1))
    return Growth(name, memory, threads)


def name_processes(supervisor: psutil.Process) -> Iterator[tuple[str, psutil.Process]]:
    """Name each process of a node by what it does."""
    yield "supervisor", supervisor
    for child in supervisor.children():
        (role,) = {"receiver", "worker", "web"} & set(child.cmdline())
        yield role, child
        for number, below in enumerate(child.children(), start=1):
            yield f"{role}'s child {number}", below


def percentile(values: list[float], share: float) -> float:
    """Return the value that a share of the values does not exceed."""
    return sorted(values)[min(round(share * len(values)), len(values) - 1)]
