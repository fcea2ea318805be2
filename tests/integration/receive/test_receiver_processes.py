"""The receiver as it runs: processes of its own behind one port."""

import contextlib
import ipaddress
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from builders import build_dx
from raw_peer import (
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    COMMAND,
    DX,
    LAST,
    P_DATA,
    RawPeer,
    echo_command,
    status_of,
    store_command,
)
from receiving import encode
from running import wait_for

from dicom_node.receive.dispatcher import CONNECTION, ENDED
from dicom_node.receive.part10 import encode_file_meta
from dicom_node.receive.storage_scp import start_receiver
from dicom_node.settings import Sender, Settings, load_settings
from dicom_node.store import Store

CONFIGURATION = """
[node]
ae_title = "FRACTUREAI"
port = {port}
data_dir = "{folder}/var"
grace_s = 3
[[senders]]
ae_title = "ORTHANC"
[[destinations]]
name = "archive"
ae_title = "ORTHANC"
host = "127.0.0.1"
port = 4242
[receive]
processes = 2
minimum_free_mb = 1
maximum_associations = {maximum_associations}
maximum_associations_per_address = 64
"""


class Running:
    """`dicom-node receiver` as a subprocess."""

    def __init__(self, folder: Path, *, maximum_associations: int = 64) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = folder
        self.configuration = folder / "node.toml"
        limits = {"maximum_associations": maximum_associations}
        self.configuration.write_text(CONFIGURATION.format(port=self.port, folder=folder, **limits))
        self.process = self.launch()

    def launch(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dicom_node", "receiver", "--config", str(self.configuration)]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def settings(self) -> Settings:
        return load_settings(self.configuration)

    def wait_until_ready(self, times: int = 1) -> None:
        wait_for("the receiver says that it receives", lambda: self.log.count("receiving as") >= times, within_s=180)

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def end(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self.children:
                child.kill()
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(20)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    receiver = Running(tmp_path)
    try:
        receiver.wait_until_ready()
        yield receiver
    finally:
        receiver.end()


def echoes(peer: RawPeer) -> bool:
    peer.send_values((3, COMMAND | LAST, echo_command()))
    return status_of(peer.read_response()) == 0


@pytest.mark.parametrize(
    "fate", ["it comes to its end", "it was reset before it was taken", "no sender has its address"]
)
def test_a_process_says_of_every_connection_that_it_is_over(build_settings: Callable[..., Settings], fate: str) -> None:
    """Else the one that accepts would think that process busier with each, and hand all to one that was restarted."""
    ours, theirs = socket.socketpair()
    elsewhere = (Sender(ae_title="ORTHANC", networks=(ipaddress.ip_network("192.0.2.0/24"),)),)
    ours.settimeout(20)
    # Whoever comes from the address that it connects to is of this machine, and let in.
    source = "127.0.0.2" if fate == "no sender has its address" else "127.0.0.1"
    with ours, start_receiver(build_settings(senders=elsewhere), channel=theirs):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            peer = socket.create_connection(listening.getsockname(), source_address=(source, 0))
            if fate == "it was reset before it was taken":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
            connection, _ = listening.accept()
        with peer, connection:
            socket.send_fds(ours, [CONNECTION], [connection.fileno()])
            connection.close()
            if fate == "it comes to its end":
                peer.close()
            assert ours.recv(2) == ENDED


def test_it_names_host_and_port_when_it_is_ready_and_stops_with_0(running: Running) -> None:
    assert re.search(rf"receiving as FRACTUREAI on 127\.0\.0\.1 port {running.port}", running.log)
    ds = build_dx()
    with RawPeer(running.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    children = running.children
    assert running.stop() == 0
    assert not any(child.is_running() for child in children)
    assert "Traceback" not in running.log


def test_connections_are_shared_evenly(running: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            stack.enter_context(RawPeer(running.port).associate())
        # Two threads an association, beside those that are always there.
        threads = [child.num_threads() for child in running.children]
        assert len(threads) == 2
        assert abs(threads[0] - threads[1]) <= 1
        assert min(threads) >= 6


@pytest.mark.fault(13)
def test_the_limit_holds_for_all_processes_together(tmp_path: Path) -> None:
    """Two processes have no more associations between them than is configured, and a killed one's places are free."""
    running = Running(tmp_path, maximum_associations=3)
    running.wait_until_ready()
    with contextlib.ExitStack() as stack:
        stack.callback(running.end)
        peers = [stack.enter_context(RawPeer(running.port)) for _ in range(6)]
        answers = [peer.request()[0] for peer in peers]
        assert (answers.count(ASSOCIATE_AC), answers.count(ASSOCIATE_RJ)) == (3, 3)
        running.children[0].kill()
        wait_for("a new process", lambda: len(running.children) == 2 and "ended with -9" in running.log)
        peers = [stack.enter_context(RawPeer(running.port)) for _ in range(6)]
        left = 3 - [peer.request()[0] for peer in peers].count(ASSOCIATE_AC)
        assert left in {1, 2}


@pytest.mark.fault(66)
def test_sigterm_ends_it_in_time_whatever_a_peer_leaves_open(running: Running) -> None:
    with RawPeer(running.port).associate() as peer, RawPeer(running.port), RawPeer(running.port).associate():
        peer.send(P_DATA, bytes(100), length=10_000)
        time.sleep(0.2)
        started = time.monotonic()
        assert running.stop() == 0
        assert time.monotonic() - started < 3 + 2


def test_a_process_that_dies_is_replaced_and_the_others_go_on(running: Running) -> None:
    with RawPeer(running.port).associate() as first, RawPeer(running.port).associate() as second:
        running.children[0].kill()
        wait_for("a new process", lambda: len(running.children) == 2 and "ended with -9" in running.log, within_s=60)
        alive = []
        for peer in (first, second):
            with contextlib.suppress(KeyError, OSError):
                alive.append(echoes(peer))
        assert alive == [True]
    with RawPeer(running.port) as peer:
        assert peer.request()[0] == ASSOCIATE_AC


@pytest.mark.fault(65)
def test_a_process_that_is_told_to_stop_finishes_while_the_others_accept(running: Running) -> None:
    ds = build_dx()
    sent = encode(ds)
    with RawPeer(running.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_values((1, 0, sent[:10_000]))
        (busy,) = [child for child in running.children if child.num_threads() > 3]
        busy.terminate()
        time.sleep(0.5)
        for _ in range(2):
            with RawPeer(running.port).associate() as other:
                assert echoes(other)
        peer.send_data_set(sent[10_000:])
        assert status_of(peer.read_response()) == 0


def test_without_the_process_that_accepts_the_others_leave_and_the_port_is_free(running: Running) -> None:
    children = running.children
    running.process.kill()
    running.process.wait()
    wait_for("the processes end", lambda: not any(child.is_running() for child in children), within_s=60)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", running.port))


def test_a_port_in_use_is_a_configuration_error(running: Running) -> None:
    second = running.launch()
    assert second.wait(20) == 2
    assert "Address already in use" in running.log
    assert "Traceback" not in running.log


# After a crash


@pytest.mark.fault(57)
def test_killed_in_the_middle_of_an_object_it_leaves_no_half(running: Running) -> None:
    ds = build_dx()
    spool = running.settings.node.spool_dir
    with RawPeer(running.port).associate() as peer:
        peer.send_values((1, COMMAND | LAST, store_command(DX, ds.SOPInstanceUID)))
        peer.send_values((1, 0, encode(ds)[:10_000]))
        wait_for("the object arrives", lambda: list((spool / ".incoming").rglob("*.part")), within_s=60)
        (busy,) = [child for child in running.children if child.num_threads() > 3]
        busy.kill()
        wait_for("what it left is removed", lambda: not list((spool / ".incoming").rglob("*.part")), within_s=60)
    assert list(spool.glob("*/*.dcm")) == []


@pytest.mark.fault(57, 59)
def test_files_without_a_row_get_one_at_the_next_start(running: Running) -> None:
    assert running.stop() == 0
    ds = build_dx()
    path = running.settings.node.spool_dir / ds.StudyInstanceUID / f"{ds.SOPInstanceUID}.dcm"
    path.parent.mkdir()
    head = encode_file_meta(
        sop_class_uid=DX,
        sop_instance_uid=ds.SOPInstanceUID,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sender="ORTHANC",
        receiver="FRACTUREAI",
    )
    path.write_bytes(head + encode(ds))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    (running.settings.node.spool_dir / ds.StudyInstanceUID / "1.2.3.dcm").write_bytes(b"not a file of ours")
    running.process = running.launch()
    running.wait_until_ready(2)
    store = Store(running.settings.database_url)
    row = wait_for("the row", lambda: store.find_instance(ds.SOPInstanceUID), within_s=60)
    store.close()
    assert (row.study_instance_uid, row.calling_ae_title, row.received_at) == (
        ds.StudyInstanceUID,
        "ORTHANC",
        1_700_000_000,
    )
    with RawPeer(running.port).associate() as peer:
        assert status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0
    assert list((running.settings.node.spool_dir / ".conflicts").iterdir()) == []


@pytest.mark.fault(57)
def test_killed_at_any_moment_it_has_what_it_acknowledged(running: Running) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def pour() -> None:
        while not stop.is_set():
            with (
                contextlib.suppress(KeyError, OSError, AssertionError),
                RawPeer(running.port, timeout_s=5).associate() as peer,
            ):
                while not stop.is_set():
                    ds = build_dx(PixelData=bytes(20_000), Rows=100, Columns=100)
                    if status_of(peer.store(encode(ds), sop_instance=ds.SOPInstanceUID)) == 0:
                        acknowledged.append(ds.SOPInstanceUID)

    threads = [threading.Thread(target=pour) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(6):
        enough = len(acknowledged) + 3
        wait_for("some more are acknowledged", partial(lambda count: len(acknowledged) >= count, enough))
        time.sleep(0.1 * number)
        for child in running.children[number % 2 :]:
            with contextlib.suppress(psutil.NoSuchProcess):
                os.kill(child.pid, signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(acknowledged) > 10
    spool, store = running.settings.node.spool_dir, Store(running.settings.database_url)
    rows = [store.find_instance(uid) for uid in acknowledged]
    assert all(row is not None and (spool / row.path).stat().st_size > 20_000 for row in rows)
    wait_for(
        "a row for each file",
        lambda: all(store.find_instance(path.stem) is not None for path in spool.glob("*/*.dcm")),
        within_s=60,
    )
    store.close()
