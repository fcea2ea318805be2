"""Time what Prometheus asks for every few seconds, and what a page of statistics asks, with many studies in the store.

`python benchmarks/scrape.py [--studies 10000]` prints the median processor time of each question, and of all of them.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from prometheus_client import CollectorRegistry, generate_latest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from many_studies import fill

from dicom_node.operate.metrics import LIMITS_S, NodeCollector
from dicom_node.settings import Destination, NodeSettings, Sender, Settings
from dicom_node.statistics.counting import gather_statistics
from dicom_node.store import Store

RUNS = 15


def measure(what: str, work: Callable[[], object]) -> None:
    """Print the median of `RUNS` and the first, which finds nothing in memory."""
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    print(f"{what:<34}{median(times) * 1000:8.1f} ms   first {times[0] * 1000:6.1f} ms")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=10_000)
    count = parser.parse_args().studies
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            node=NodeSettings(ae_title="FRACTUREAI", data_dir=Path(folder)),
            senders=(Sender(ae_title="CR_ROOM_1"),),
            destinations=(Destination(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=104),),
        )
        store = Store(settings.database_url)
        fill(store, count, until=time.time(), every_s=600)
        print(f"{count} studies, database of {(Path(folder) / 'node.sqlite').stat().st_size / 1e6:.0f} MB")
        measure("studies that wait", store.waiting_studies)
        measure("versions not finished", store.unfinished_revisions)
        measure("results not delivered", lambda: store.undelivered_results(["archive"]))
        measure("images by decision", store.decisions)
        measure("times, as histograms", lambda: store.durations(LIMITS_S))
        registry = CollectorRegistry()
        registry.register(NodeCollector(settings, store))
        measure("one scrape", lambda: generate_latest(registry))
        measure("statistics of 12 weeks", lambda: gather_statistics(store, weeks=12, now=time.time()))
        store.close()


if __name__ == "__main__":
    main()
