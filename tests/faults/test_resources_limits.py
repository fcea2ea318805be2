"""Out of descriptors, threads and memory; many associations, one after another."""

import contextlib
import os
import re
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import build_dx
from chaos_bench import say
from raw_peer import COMMAND, LAST, RELEASE_RP, RawPeer, echo_command, status_of
from receiver_process import ReceiverProcess
from receiving import encode, port_of
from running import wait_for

ASSOCIATIONS = int(os.environ.get("SOAK_ASSOCIATIONS", "200"))
WARM_UP, MEASURES = 100, 4
STEP_MB = 6
"""What an allocator may take at once: it hides a leak in a short run, not in a long one."""
SELECT_LIMIT = 1024
PIXELS = np.zeros((16, 16), np.uint16)


@pytest.fixture
def launch(tmp_path):
    running = []

    def launch_one(**options):
        running.append(ReceiverProcess(tmp_path, **options))
        return running[-1]

    yield launch_one
    for one in running:
        assert one.stop() == 0


def echoes(port):
    with contextlib.suppress(OSError, AssertionError, KeyError), RawPeer(port, timeout_s=10) as peer:
        peer.associate()
        peer.send_values((3, COMMAND | LAST, echo_command()))
        return status_of(peer.read_response()) == 0
    return False


def store_one(port):
    ds = build_dx(PIXELS)
    with RawPeer(port, timeout_s=60).associate() as peer:
        status = status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID))
        return status == 0 and peer.release() == RELEASE_RP


def limit_descriptors(pid, spare):
    used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + spare, 20_000))


def limit_addresses(pid, spare):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + spare
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def count_accepted(port, attempts):
    """Ask for associations that all stay open; count those that are accepted."""
    accepted = 0
    with contextlib.ExitStack() as stack:
        for _ in range(attempts):
            with contextlib.suppress(OSError, AssertionError):
                stack.enter_context(RawPeer(port, timeout_s=0.3)).associate()
                accepted += 1
    return accepted


@pytest.mark.fault(56)
@pytest.mark.parametrize(
    ("limit", "spare", "lacks"),
    [
        pytest.param(limit_descriptors, 8, "descriptor|Too many open files", id="descriptors"),
        # 8 MB of addresses are set aside for the stack of each thread, and each association has two. A thread that is
        # not to be had is the same to the process where `ulimit -u` is the reason, which does not hold for root.
        pytest.param(limit_addresses, 60_000_000, "can't start new thread", id="memory and threads"),
    ],
)
def test_a_receiver_without_resources_refuses_some_and_serves_again(launch, limit, spare, lacks):
    """Out of descriptors, or of memory for threads: some connections are closed, and later ones are served."""
    receiver = launch(limits="maximum_associations = 256\nmaximum_associations_per_address = 256")
    assert store_one(receiver.port)
    for child in receiver.children:
        limit(child.pid, spare)
    assert count_accepted(receiver.port, 40) < 40, "nothing was scarce"
    assert re.search(lacks, receiver.log)
    wait_for("it serves again", lambda: echoes(receiver.port), within_s=60)
    assert store_one(receiver.port)
    assert all(child.is_running() for child in receiver.children)


@pytest.fixture
def many_descriptors():
    """More descriptors than `select` knows."""
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(SELECT_LIMIT)]
    yield
    for descriptor in held:
        os.close(descriptor)


@pytest.mark.fault(56)
@pytest.mark.usefixtures("many_descriptors")
def test_descriptors_beyond_those_of_select_are_served(receiver, stock):
    """A connection whose descriptor is 1024 or more is served; stock pynetdicom, which asks `select`, closes it."""
    assert echoes(receiver.port)
    stock.ae.acse_timeout = stock.ae.network_timeout = 30
    assert not echoes(port_of(stock))


@pytest.mark.fault(56)
def test_a_receiver_that_cannot_accept_does_so_when_it_can(launch):
    """Without a descriptor for a connection, the process that accepts waits, and goes on when there is one."""
    receiver = launch()
    limit_descriptors(receiver.process.pid, 0)
    assert count_accepted(receiver.port, 3) == 0
    limit_descriptors(receiver.process.pid, 100)
    wait_for("it serves again", lambda: echoes(receiver.port), within_s=60)
    assert all(child.is_running() for child in receiver.children)


def measure_growth(receiver, associations):
    """Store an object in each of so many associations; return what each process grew by, and has open, in steps."""

    def run(count):
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda _: store_one(receiver.port), range(count)))
        return receiver.descriptors(), receiver.memory_mb()

    run(WARM_UP)  # what is made once and kept: caches, the database's pages, the allocator's
    measured = [run(associations // MEASURES) for _ in range(MEASURES)]
    growth = [last - first for first, last in zip(measured[0][1], measured[-1][1], strict=True)]
    return growth, [descriptors for descriptors, _ in measured]


def is_flat(growth, associations):
    between = associations * (MEASURES - 1) / MEASURES
    return max(growth) < max(STEP_MB, between / 1000)


@pytest.mark.fault(68)
def test_many_associations_leave_nothing_behind(launch):
    """Associations that store one object each: memory grows by less than 1 MB per 1000, nothing else grows."""
    receiver = launch()
    started = time.monotonic()
    growth, descriptors = measure_growth(receiver, ASSOCIATIONS)
    took_s = time.monotonic() - started
    say(f"{ASSOCIATIONS} associations in {took_s:.0f} s: {' '.join(f'{one:+.2f} MB' for one in growth)}")
    assert is_flat(growth, ASSOCIATIONS)
    for before, after in pairwise(descriptors):
        assert all(now <= then + 2 for then, now in zip(before, after, strict=True))
    assert len(list(receiver.settings.node.spool_dir.glob("*/*.dcm"))) == WARM_UP + ASSOCIATIONS // MEASURES * MEASURES


LEAK = """
import os, threading
start, kept = threading.Thread.start, []

def leak(thread):
    kept.append((b"leak" * 25_000, os.open(os.devnull, os.O_RDONLY)))
    start(thread)

threading.Thread.start = leak
"""


@pytest.mark.fault(68)
def test_a_leak_would_be_seen(launch, tmp_path):
    """The negative control: a tenth of a megabyte and a descriptor for each thread that is started."""
    (tmp_path / "leak").mkdir()
    (tmp_path / "leak" / "sitecustomize.py").write_text(LEAK)
    path = os.pathsep.join([str(tmp_path / "leak"), *filter(None, [os.environ.get("PYTHONPATH")])])
    receiver = launch(within=["env", f"PYTHONPATH={path}"])
    growth, descriptors = measure_growth(receiver, 100)
    assert not is_flat(growth, 100)
    assert min(descriptors[-1]) > min(descriptors[0]) + 20
