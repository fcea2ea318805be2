"""How long the whole node takes, as a PACS sees it: start-up, last image to archived result, memory over many studies.

    python benchmarks/end_to_end.py [--studies 500] [--out memory.png]

Real processes on 127.0.0.1: `dicom-node serve`, and a Storage SCP as the archive. Images: the distal tibia of the
samples under new UIDs. The quiet period is taken off, because it is a wish and not work.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from rich.progress import track

from dicom_node.deliver import verify_destination
from dicom_node.demo.archives import find_free_port
from dicom_node.errors import AssociationError
from dicom_node.settings import Destination

SAMPLE = next(iter(sorted((Path(__file__).resolve().parent.parent / "sample_studies").glob("*tibia*/**/*.dcm"))))
QUIET_S = 1.0


class Archive:
    """Notes when the report of each study arrives."""

    def __init__(self) -> None:
        self.port = find_free_port()
        self.reports: dict[str, float] = {}
        ae = AE(ae_title="ARCHIVE")
        ae.supported_contexts = [*AllStoragePresentationContexts]
        ae.add_supported_context("1.2.840.10008.1.1")
        self._server = ae.start_server(
            ("127.0.0.1", self.port), block=False, evt_handlers=[(evt.EVT_C_STORE, self._note)]
        )

    def _note(self, event: evt.Event) -> int:
        ds = event.dataset
        if "EncapsulatedDocument" in ds:
            self.reports[str(ds.StudyInstanceUID)] = time.monotonic()
        return 0x0000

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()


@contextmanager
def running_node(folder: Path, archive_port: int) -> Iterator[tuple[int, psutil.Process, float]]:
    """Start the node; gives its port, its process and the seconds until it answered a C-ECHO."""
    port = find_free_port()
    config = folder / "node.toml"
    config.write_text(
        f'[node]\nae_title = "NODE"\nport = {port}\ndata_dir = "{folder}/var"\n[[senders]]\nae_title = "ARCHIVE"\n'
        f'[[destinations]]\nname = "a"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = {archive_port}\n'
        f"[completion]\nquiet_s = {QUIET_S}\nsweep_s = 0.2\n[web]\nport = {find_free_port()}\n"
    )
    before = time.monotonic()
    process = psutil.Popen([sys.executable, "-m", "dicom_node", "serve", "--config", str(config)])
    node = Destination(name="node", ae_title="NODE", host="127.0.0.1", port=port)
    while True:
        try:
            verify_destination(node, "ARCHIVE")
            break
        except AssociationError:
            time.sleep(0.02)
    try:
        yield port, process, time.monotonic() - before
    finally:
        process.terminate()
        process.wait()


def send_study(port: int, ds: Dataset) -> tuple[str, float]:
    """Send one image as a study of its own; returns its UID and the moment of the answer."""
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = (generate_uid() for _ in range(3))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ae = AE(ae_title="ARCHIVE")
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate("127.0.0.1", port, ae_title="NODE")
    status = assoc.send_c_store(ds).Status
    assoc.release()
    if status != 0x0000:
        raise SystemExit(f"C-STORE was answered with 0x{status:04X}")
    return str(ds.StudyInstanceUID), time.monotonic()


def wait_for_report(archive: Archive, study: str, within_s: float = 120) -> float:
    """Return the moment when the archive had the report of a study."""
    deadline = time.monotonic() + within_s
    while study not in archive.reports:
        if time.monotonic() > deadline:
            raise SystemExit(f"no report after {within_s:.0f} s")
        time.sleep(0.01)
    return archive.reports[study]


def worker_memory_mb(node: psutil.Process) -> float:
    """Resident memory of the worker and of the processes in which it decodes and runs the models, shared pages once."""
    (worker,) = [child for child in node.children() if "worker" in child.cmdline()]
    return sum(process.memory_full_info().pss for process in (worker, *worker.children())) / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=60, help="studies for the memory run")
    parser.add_argument("--out", type=Path, help="plot the worker's memory into this PNG")
    options = parser.parse_args()
    ds = dcmread(SAMPLE)
    archive = Archive()
    with tempfile.TemporaryDirectory() as folder, running_node(Path(folder), archive.port) as (port, node, ready_s):
        print(f"ready to accept associations after {ready_s:.2f} s")
        time.sleep(5)  # the worker loads its models beside the receiver
        seconds = []
        for _ in track(range(10), "one study at a time"):
            study, sent = send_study(port, ds)
            seconds.append(wait_for_report(archive, study) - sent - QUIET_S)
        print(
            f"last image to archived report, without the quiet period of {QUIET_S:.0f} s: "
            f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s ({ds.Rows} x {ds.Columns})"
        )
        memory = measure_memory(port, node, archive, ds, options.studies)
    archive.stop()
    if options.out:
        plot_memory(memory, options.out)


def measure_memory(
    port: int, node: psutil.Process, archive: Archive, ds: Dataset, studies: int
) -> list[tuple[int, float]]:
    """Send many studies; print and return (studies done, MB of the worker)."""
    done_before = len(archive.reports)
    before = time.monotonic()
    sender = threading.Thread(target=lambda: [send_study(port, ds) for _ in range(studies)])
    sender.start()
    memory = [(0, worker_memory_mb(node))]
    for number in track(range(1, studies + 1), "many studies"):
        while len(archive.reports) - done_before < number:
            time.sleep(0.05)
        if number % max(studies // 20, 1) == 0:
            memory.append((number, worker_memory_mb(node)))
    sender.join()
    elapsed = time.monotonic() - before
    half = [mb for number, mb in memory if number >= studies / 2]
    print(f"{studies} studies in {elapsed:.0f} s ({elapsed / studies:.2f} s each)")
    print("worker memory, MB: " + ", ".join(f"{number}: {mb:.0f}" for number, mb in memory))
    print(f"growth over the second half: {half[-1] - half[0]:+.0f} MB")
    return memory


def plot_memory(memory: list[tuple[int, float]], path: Path) -> None:
    """Draw memory over studies."""
    import matplotlib as mpl  # noqa: PLC0415  # only for the plot

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415  # after the choice of back end

    plt.figure(figsize=(7, 4))
    plt.plot(*zip(*memory, strict=True), marker="o")
    plt.xlabel("studies done")
    plt.ylabel("worker memory, MB")
    plt.ylim(bottom=0)
    plt.tight_layout()
    plt.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
