"""Out of descriptors, threads and memory; many associations, one after another."""

import contextlib
import os
import re
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import build_dx
from chaos_bench import say
from raw_peer import ASSOCIATE_AC, ASSOCIATE_RJ, COMMAND, LAST, RELEASE_RP, RawPeer, echo_command, status_of
from receiver_process import ReceiverProcess
from receiving import encode, port_of
from running import wait_for

from dicom_node.receive.scarcity import PATIENCE_S, turn_away

ASSOCIATIONS = int(os.environ.get("SOAK_ASSOCIATIONS", "200"))
WARM_UP, MEASURES = 100, 4
STEP_MB = 6
"""What an allocator may take at once: it hides a leak in a short run, not in a long one."""
SELECT_LIMIT = 1024
MANY = "maximum_associations = 256\nmaximum_associations_per_address = 256"
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


ACCEPTED, CONGESTION, CLOSED = "accepted", "rejected: temporary congestion", "closed"


def ask(peer):
    """Ask for an association; say what came of it."""
    with contextlib.suppress(OSError):
        kind, body = peer.request()
        if kind == ASSOCIATE_RJ:
            assert tuple(body[1:]) == (2, 3, 1), "result, source, reason"
        return {ASSOCIATE_AC: ACCEPTED, ASSOCIATE_RJ: CONGESTION, 0: CLOSED}[kind]
    return CLOSED


@contextlib.contextmanager
def asked_often(port, attempts):
    """Ask for associations that all stay open; yield what came of each."""
    with contextlib.ExitStack() as stack:
        yield [ask(stack.enter_context(RawPeer(port, timeout_s=20))) for _ in range(attempts)]


def make_scarce(receiver, limit=None, spare=6):
    for child in receiver.children:
        (limit or limit_descriptors)(child.pid, spare)


@pytest.mark.fault(56)
@pytest.mark.parametrize(
    ("limit", "spare", "lacks"),
    [
        *(
            pytest.param(limit_descriptors, spare, "Too many open files", id=f"{spare} descriptors")
            for spare in (6, 7, 8)
        ),
        # 8 MB of addresses are set aside for the stack of each thread, and each association has two. A thread that is
        # not to be had is the same to the process where `ulimit -u` is the reason, which does not hold for root.
        pytest.param(limit_addresses, 60_000_000, "can't start new thread", id="memory and threads"),
    ],
)
def test_a_receiver_without_resources_refuses_some_and_serves_again(launch, limit, spare, lacks):
    """Out of descriptors, or of memory for threads: some are rejected, RJ (2,3,1), and later ones are served."""
    receiver = launch(limits=MANY)
    assert store_one(receiver.port)
    make_scarce(receiver, limit, spare)
    with asked_often(receiver.port, 40) as answers:
        assert {*answers} == {ACCEPTED, CONGESTION}
    assert re.search(lacks, receiver.log)
    wait_for("it serves again", lambda: echoes(receiver.port), within_s=60)
    assert store_one(receiver.port)
    assert all(child.is_running() for child in receiver.children)


@pytest.mark.fault(56)
def test_who_says_nothing_does_not_keep_others_from_being_told(launch):
    """Without a descriptor, a silent connection is closed within its second; those behind it are rejected as ever."""
    receiver = launch(limits=MANY)
    make_scarce(receiver)
    with asked_often(receiver.port, 20) as answers, contextlib.ExitStack() as stack:
        assert answers[-1] == CONGESTION
        silent = [stack.enter_context(RawPeer(receiver.port)) for _ in range(4)]
        begun = time.monotonic()
        assert ask(stack.enter_context(RawPeer(receiver.port, timeout_s=20))) == CONGESTION
        assert time.monotonic() - begun < 2 * len(silent) * PATIENCE_S
        assert all(peer.wait_for_end() for peer in silent)
    wait_for("it serves again", lambda: echoes(receiver.port), within_s=60)


@pytest.mark.fault(56)
def test_without_a_spare_descriptor_they_would_be_closed(launch, tmp_path):
    """The negative control: what is held for the one connection more is not held."""
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "sitecustomize.py").write_text(NO_SPARE)
    path = os.pathsep.join([str(tmp_path / "none"), *filter(None, [os.environ.get("PYTHONPATH")])])
    receiver = launch(limits=MANY, within=["env", f"PYTHONPATH={path}"])
    make_scarce(receiver)
    with asked_often(receiver.port, 20) as answers:
        assert CLOSED in answers


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x01\x00\x00",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xf0",
        b"\x01\x00\x00\x00\x00\x44" + bytes(60),
    ],
    ids=["nothing", "half a header", "HTTP", "4 GB", "half a request"],
)
def test_only_a_whole_association_request_is_answered_and_waited_for_only_so_long(said):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(said)
        begun = time.monotonic()
        assert not turn_away(ours)
        assert time.monotonic() - begun < PATIENCE_S + 1


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
    """Without a descriptor for a connection, the process that accepts uses its spare one; without that, it waits."""
    receiver = launch()
    limit_descriptors(receiver.process.pid, 0)
    with asked_often(receiver.port, 5) as answers:
        assert {*answers} == {ACCEPTED}
    resource.prlimit(receiver.process.pid, resource.RLIMIT_NOFILE, (3, 20_000))
    with RawPeer(receiver.port, timeout_s=3) as peer:
        assert ask(peer) == CLOSED, "not even a spare one"
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


NO_SPARE = """
from dicom_node.receive import scarcity

scarcity.SpareDescriptor._take = lambda spare: True
"""
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
