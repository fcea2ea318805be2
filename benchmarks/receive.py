"""Receive throughput beside DCMTK storescp and Orthanc: same objects, same sender, interleaved, every store answered.

    python benchmarks/receive.py [--rounds 3] [--servers node,orthanc,storescp]

The sender costs almost no processor time (raw sockets, PDUs framed beforehand), so that what is measured is the server;
all servers are real processes and offer 128 KiB PDUs. Both foreign servers get TCP_NODELAY=1 in their environment:
without it every store waits 44 ms for a delayed acknowledgement. storescp does not make anything durable; Orthanc
flushes each file, the node file, folder and row. Trust the ratios of one run, not the numbers of two. On a machine
that others use, run it under `chrt --rr 5`: else each flush waits for a turn of the scheduler.
"""

import argparse
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from dicom_node.demo.archives import find_program

SIZES = {"10 MB": 10_000_000, "0.5 MB": 500_000}
COUNTS = {
    ("10 MB", 1): 12,
    ("10 MB", 4): 5,
    ("10 MB", 16): 2,
    ("0.5 MB", 1): 120,
    ("0.5 MB", 4): 60,
    ("0.5 MB", 16): 24,
}
"""Objects an association sends."""
MAXIMUM_PDU = 131_072
CALLING, CALLED = "BENCH", "FRACTUREAI"
_UID_LENGTH = 64


# The sender


def build_data_set(size: int) -> tuple[bytes, list[tuple[int, str]]]:
    """Build an encoded image of about `size` bytes; also where its instance, study and series UIDs stand."""
    ds = Dataset()
    ds.SOPClassUID = ComputedRadiographyImageStorage
    marks = {
        name: f"1.{digit}" + str(digit) * (_UID_LENGTH - 3)
        for name, digit in (("instance", 7), ("study", 8), ("series", 9))
    }
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = marks["instance"], marks["study"], marks["series"]
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Bench^Mark", "B1", "", ""
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID, ds.ReferringPhysicianName = "", "", "", "", ""
    ds.Modality, ds.Manufacturer, ds.SeriesNumber, ds.InstanceNumber = "CR", "Bench", 1, 1
    ds.Rows, ds.Columns = size // 4000, 2000
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    noise = np.random.default_rng(1).integers(0, 4096, (ds.Rows, ds.Columns), dtype=np.uint16)
    ds.PixelData = noise.tobytes()
    ds["PixelData"].VR = "OW"
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, ds)
    encoded = buffer.getvalue()
    return encoded, [(encoded.index(mark.encode()), name) for name, mark in marks.items()]


def unique_uid(*numbers: int) -> str:
    """Build a UID of exactly 64 characters."""
    head = "1.2." + ".".join(str(number + 1) for number in numbers) + ".1"
    return head + "0" * (_UID_LENGTH - len(head))


def command_set(sop_instance_uid: str) -> bytes:
    """Encode a C-STORE-RQ (PS3.7 9.3.1.1)."""
    uid = ComputedRadiographyImageStorage.encode()
    elements = [
        (0x0002, uid + b"\0" * (len(uid) % 2)),
        (0x0100, struct.pack("<H", 1)),
        (0x0110, struct.pack("<H", 1)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", 1)),
        (0x1000, sop_instance_uid.encode()),
    ]
    body = b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def frame(content: memoryview | bytes, control: int, maximum_pdu: int) -> Iterator[memoryview | bytes]:
    """Split content into P-DATA-TF PDUs: a header and a piece in turn."""
    step = maximum_pdu - 6
    for start in range(0, len(content), step):
        piece = content[start : start + step]
        last = 2 if start + step >= len(content) else 0
        yield struct.pack(">BxIIBB", 4, len(piece) + 6, len(piece) + 2, 1, control | last)
        yield piece


def associate(port: int) -> tuple[socket.socket, int]:
    """Open an association; return its socket and the longest PDU that the peer takes."""

    def item(kind: int, content: bytes) -> bytes:
        return struct.pack(">BxH", kind, len(content)) + content

    context = item(
        0x20,
        b"\1\0\0\0"
        + item(0x30, ComputedRadiographyImageStorage.encode())
        + item(0x40, ExplicitVRLittleEndian.encode()),
    )
    user = item(0x50, item(0x51, struct.pack(">I", MAXIMUM_PDU)) + item(0x52, b"1.2.3.4"))
    body = struct.pack(">HH16s16s32x", 1, 0, CALLED.ljust(16).encode(), CALLING.ljust(16).encode())
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(struct.pack(">BxI", 1, len(body)) + body)
    kind, answer = read_pdu(connection)
    if kind != 2:
        raise ConnectionError(f"association refused: PDU type {kind}")
    offset = answer.index(struct.pack(">BxH", 0x51, 4)) + 4
    return connection, min(int.from_bytes(answer[offset : offset + 4], "big") or MAXIMUM_PDU, MAXIMUM_PDU)


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    """Read one PDU: its type and body."""
    header = read_exactly(connection, 6)
    return header[0], read_exactly(connection, int.from_bytes(header[2:], "big"))


def read_exactly(connection: socket.socket, count: int) -> bytes:
    """Read so many bytes."""
    content = b""
    while len(content) < count:
        piece = connection.recv(count - len(content))
        if not piece:
            raise ConnectionError("the peer closed the connection")
        content += piece
    return content


def send_objects(connection: socket.socket, messages: list[list[memoryview | bytes]]) -> None:
    """Send C-STORE requests one after the other; each must be answered with Success."""
    for buffers in messages:
        # As many buffers in a call as the kernel takes.
        for start in range(0, len(buffers), 512):
            send_all(connection, buffers[start : start + 512])
        _, answer = read_pdu(connection)
        status = answer.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        if answer[status : status + 2] != b"\0\0":
            raise ConnectionError(f"answered 0x{int.from_bytes(answer[status : status + 2], 'little'):04X}")


def send_all(connection: socket.socket, buffers: list[memoryview | bytes]) -> None:
    """Write buffers without joining them."""
    left = sum(len(buffer) for buffer in buffers)
    while left:
        count = connection.sendmsg(buffers)
        left -= count
        while buffers and count >= len(buffers[0]):
            count -= len(buffers[0])
            buffers = buffers[1:]
        if count:
            buffers = [memoryview(buffers[0])[count:], *buffers[1:]]


def build_messages(
    data_set: bytes, marks: list[tuple[int, str]], series: int, count: int, maximum_pdu: int
) -> list[list[memoryview | bytes]]:
    """Frame `count` objects of one study that share all bytes but the beginning."""
    shared = memoryview(data_set)
    first = maximum_pdu - 6
    messages = []
    for number in range(count):
        uids = {"instance": unique_uid(series, number), "study": unique_uid(series), "series": unique_uid(series, 0, 0)}
        beginning = bytearray(data_set[:first])
        for offset, name in marks:
            beginning[offset : offset + _UID_LENGTH] = uids[name].encode()
        head = [*frame(command_set(uids["instance"]), 1, maximum_pdu)]
        rest = [*frame(shared, 0, maximum_pdu)]
        messages.append([*head, rest[0], bytes(beginning), *rest[2:]])
    return messages


# The servers


@dataclass
class Server:
    """A server as a process of its own."""

    name: str
    command: list[str]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; return the seconds until it takes an association."""
        started = time.perf_counter()
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(
            self.command, env={**os.environ, **self.environment}, stdout=quiet, stderr=quiet
        )
        while True:
            try:
                associate(self.port)[0].close()
                return time.perf_counter() - started
            except OSError:
                if self.process.poll() is not None or time.perf_counter() - started > 30:
                    raise
                time.sleep(0.02)

    def cpu_s(self) -> float:
        """Processor time of the process and its children so far."""
        parent = psutil.Process(self.process.pid)
        times = [one.cpu_times() for one in [parent, *parent.children(recursive=True)]]
        ended = parent.cpu_times()
        return sum(one.user + one.system for one in times) + ended.children_user + ended.children_system

    def stop(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(30)


def node(folder: Path, port: int, processes: int = 2) -> Server:
    """Make this repository's receiver."""
    folder.mkdir()
    configuration = folder / "node.toml"
    configuration.write_text(
        f"""
        [node]
        ae_title = "{CALLED}"
        port = {port}
        data_dir = "{folder}"
        [[senders]]
        ae_title = "{CALLING}"
        [[destinations]]
        name = "nowhere"
        ae_title = "NOWHERE"
        host = "127.0.0.1"
        port = 1
        [receive]
        processes = {processes}
        maximum_associations = 64
        maximum_associations_per_address = 64
        """
    )
    return Server("node", [sys.executable, "-m", "dicom_node", "receiver", "--config", str(configuration)], port)


def orthanc(folder: Path, port: int) -> Server:
    """Make an Orthanc with its default storage (fsync on), as many threads as associations, and no plugin."""
    folder.mkdir()
    configuration = folder / "orthanc.json"
    options = {
        "Name": "bench",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "DicomAet": CALLED,
        "DicomPort": port,
        "DicomThreadsCount": 64,
        "MaximumPduLength": MAXIMUM_PDU,
        "DicomAlwaysAllowStore": True,
        "DicomCheckCalledAet": False,
        "HttpServerEnabled": False,
        "Plugins": [],
    }
    configuration.write_text(json.dumps(options))
    return Server("orthanc", [find_program("Orthanc") or "Orthanc", str(configuration)], port, {"TCP_NODELAY": "1"})


def storescp(folder: Path, port: int) -> Server:
    """Make DCMTK's storescp, which writes files and never flushes them."""
    folder.mkdir()
    options = ["--fork", "--bit-preserving", "--max-pdu", str(MAXIMUM_PDU), "--output-directory", str(folder)]
    return Server("storescp", ["storescp", *options, str(port)], port, {"TCP_NODELAY": "1"})


KINDS = {"node": node, "orthanc": orthanc, "storescp": storescp}


# Measuring


@dataclass
class Result:
    """Medians of one server in one case."""

    megabytes_per_s: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def measure(
    server: Server, size: str, associations: int, series: int, encoded: dict[str, tuple[bytes, list[tuple[int, str]]]]
) -> tuple[float, float]:
    """Send through so many associations at once; return MB/s and the server's processor time per object in ms."""
    data_set, marks = encoded[size]
    count = COUNTS[size, associations]
    opened = [associate(server.port) for _ in range(associations)]
    framed = [
        build_messages(data_set, marks, series + number, count, longest) for number, (_, longest) in enumerate(opened)
    ]
    with ThreadPoolExecutor(associations) as senders:
        cpu_s = server.cpu_s()
        started = time.perf_counter()
        list(senders.map(send_objects, [connection for connection, _ in opened], framed))
    elapsed = time.perf_counter() - started
    cpu_s = server.cpu_s() - cpu_s
    for connection, _ in opened:
        connection.close()
    objects = count * associations
    return objects * len(data_set) / 1e6 / elapsed, cpu_s / objects * 1e3


def measure_connects(server: Server, count: int = 60) -> list[float]:
    """Open so many associations at the same moment; return the seconds that each took, shortest first."""
    together = threading.Barrier(count)
    taken: list[float] = []
    connections = []

    def connect() -> None:
        together.wait()
        started = time.perf_counter()
        connections.append(associate(server.port)[0])
        taken.append(time.perf_counter() - started)

    threads = [threading.Thread(target=connect) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    return sorted(taken)


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(names: list[str], rounds: int, folder: Path) -> dict[tuple[str, int, str], Result]:
    """Start the servers, measure all cases in turn, stop them."""
    servers = [KINDS[name](folder / name, free_port()) for name in names]
    results: dict[tuple[str, int, str], Result] = {}
    encoded = {size: build_data_set(count) for size, count in SIZES.items()}
    try:
        for server in servers:
            print(f"{server.name}: takes associations {server.start():.2f} s after its start")
        series = 0
        for turn in range(rounds):
            for size, associations in COUNTS:
                # Each comes first in turn: the disk has not always settled after the one before.
                for server in servers[turn % len(servers) :] + servers[: turn % len(servers)]:
                    os.sync()  # what one server has left unwritten must not slow the flushes of the next
                    speed, cpu_ms = measure(server, size, associations, series, encoded)
                    result = results.setdefault((size, associations, server.name), Result())
                    result.megabytes_per_s.append(speed)
                    result.cpu_ms.append(cpu_ms)
                series += associations
        for server in servers:
            taken = measure_connects(server)
            last = f"median {taken[30] * 1e3:.0f} ms, all within {taken[-1] * 1e3:.0f} ms"
            print(f"{server.name}: 60 simultaneous associations: {last}")
    finally:
        for server in servers:
            if server.process is not None:
                server.stop()
    return results


def report(results: dict[tuple[str, int, str], Result], names: list[str]) -> None:
    """Print a line a case: MB/s and processor time of each server, ratio of the node to each other one."""
    print(
        f"{'case':>12}"
        + "".join(f"{name:>12} MB/s  ms/obj" for name in names)
        + "".join(f"   node/{name}" for name in names[1:])
    )
    for size, associations in COUNTS:
        speeds = [statistics.median(results[size, associations, name].megabytes_per_s) for name in names]
        cpu = [statistics.median(results[size, associations, name].cpu_ms) for name in names]
        line = f"{size + ' x' + str(associations):>12}"
        line += "".join(f"{speed:17.0f}{ms:8.1f}" for speed, ms in zip(speeds, cpu, strict=True))
        line += "".join(
            f"{speeds[0] / speed:{8 + len(name)}.2f}" for speed, name in zip(speeds[1:], names[1:], strict=True)
        )
        print(line)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--servers", default="node,orthanc,storescp", help="the first is compared with the others")
    parser.add_argument("--folder", type=Path, help="where on disk the servers keep what they receive")
    options = parser.parse_args()
    names = options.servers.split(",")
    with tempfile.TemporaryDirectory(prefix="receive-bench-", dir=options.folder) as folder:
        report(run(names, options.rounds, Path(folder)), names)


if __name__ == "__main__":
    main()
