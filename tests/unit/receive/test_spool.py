import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest
from stored_rows import build_row

from dicom_node.durable import hash_data_set
from dicom_node.receive.part10 import encode_file_meta
from dicom_node.receive.registry import Registry
from dicom_node.receive.spool import IncomingFile, Spool
from dicom_node.receive.status import RefusedError
from dicom_node.store import Admission, ReceivedInstance, Store

HEAD = encode_file_meta(
    sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax_uid="1.2.840.10008.1.2", sender="A", receiver="B"
)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


def incoming(spool: Spool, content: bytes) -> IncomingFile:
    file = spool.open_incoming(HEAD)
    file.write(memoryview(content))
    file.sync()
    return file


def row(number: int, study: str = "1.9") -> ReceivedInstance:
    return build_row(f"1.2.{number}", study, received_at=1.0)


def test_a_file_is_hashed_and_counted_without_its_head(spool: Spool) -> None:
    file = spool.open_incoming(HEAD)
    file.write(memoryview(b"abc"))
    file.write(memoryview(b"def"))
    assert (file.size, file.sha256) == (6, hashlib.sha256(b"abcdef").hexdigest())
    assert (file.read_at(0, 4), file.read_at(2, 100)) == (b"abcd", b"cdef")
    file.sync()
    assert hash_data_set(file.path) == (file.sha256, 6)


def test_a_name_that_is_taken_is_never_overwritten_by_other_bytes(spool: Spool) -> None:
    path = spool.path_of("1.9", "1.2.3")
    assert spool.keep(incoming(spool, b"first"), path)
    second = incoming(spool, b"second")
    assert not spool.keep(second, path)
    assert path.read_bytes().endswith(b"first")
    assert second.path.exists()


def test_the_same_bytes_take_the_place_of_a_file_that_may_not_be_durable(spool: Spool) -> None:
    path = spool.path_of("1.9", "1.2.3")
    assert spool.keep(incoming(spool, b"same"), path)
    inode = path.stat().st_ino
    again = incoming(spool, b"same")
    assert spool.keep(again, path)
    assert path.stat().st_ino != inode
    assert not again.path.exists()


@contextmanager
def another_process(spool: Spool) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run a process that is receiving an object into the same spool."""
    program = (
        "import sys; from pathlib import Path; from dicom_node.receive.spool import Spool\n"
        "print(Spool(Path(sys.argv[1])).open_incoming(b'half').path, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, str(spool.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())


def test_only_the_files_of_processes_that_are_gone_are_removed(spool: Spool) -> None:
    mine = spool.open_incoming(HEAD)
    with another_process(spool) as (other, half):
        assert spool.remove_incoming() == 0
        assert half.exists()
        other.kill()
        # Dead, but not yet waited for.
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        assert spool.remove_incoming() == 1
    assert not half.parent.exists()
    assert mine.path.exists()
    mine.discard()
    mine.discard()


def test_a_process_that_has_the_number_of_one_that_is_gone_keeps_nothing_of_it(spool: Spool) -> None:
    own = spool.open_incoming(HEAD).path.parent
    for name in (str(os.getpid()), f"{os.getpid()}.1", "4194304.1"):
        orphan = own.parent / name / "0.part"
        orphan.parent.mkdir(exist_ok=True)
        orphan.write_bytes(b"half")
    assert spool.remove_incoming() == 3
    assert list(own.parent.iterdir()) == [own]


def test_a_folder_that_cannot_be_removed_does_not_stop_the_start(spool: Spool) -> None:
    stray = spool.folder / ".incoming" / "4194304.1" / "a file of somebody else"
    stray.parent.mkdir()
    stray.write_bytes(b"x")
    assert spool.remove_incoming() == 0
    assert stray.exists()


def test_files_are_those_of_studies(spool: Spool) -> None:
    path = spool.path_of("1.9", "1.2.3")
    spool.keep(incoming(spool, b"x"), path)
    spool.keep_conflict(incoming(spool, b"y").path, "1.2.3", "f" * 64)
    spool.open_incoming(HEAD).discard()
    assert list(spool.files()) == [path]


def test_many_threads_are_committed_together_and_each_hears_of_its_own(spool: Spool, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'node.sqlite'}")
    registry = Registry(store, spool.folder)
    (spool.folder / "1.9").mkdir()
    answers: dict[int, Admission] = {}
    together = threading.Barrier(20)

    def add(number: int) -> None:
        together.wait()
        answers[number] = registry.add(row(number % 10))

    threads = [threading.Thread(target=add, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(10):
        assert {answers[number], answers[number + 10]} == {Admission.NEW, Admission.DUPLICATE}
    registry.close()
    store.close()


def test_an_entry_that_is_not_durable_refuses_its_own_object_alone(spool: Spool, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'node.sqlite'}")
    registry = Registry(store, spool.folder)
    (spool.folder / "1.9").mkdir()
    good: Future[Admission] = Future()
    bad: Future[Admission] = Future()
    registry._commit([(row(1, study="1.7"), bad), (row(2), good)])  # noqa: SLF001 - two that wait at the same moment
    assert good.result() is Admission.NEW
    assert isinstance(bad.exception(), RefusedError)
    registry.close()
    store.close()


def test_one_row_that_cannot_be_committed_does_not_stop_the_next(spool: Spool, tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'node.sqlite'}")
    registry = Registry(store, spool.folder)
    with pytest.raises(RefusedError):
        registry.add(row(1, study="1.7"))  # its folder is not there
    (spool.folder / "1.9").mkdir()
    assert registry.add(row(2)) is Admission.NEW
    assert registry.add(row(2, study="1.9")) is Admission.DUPLICATE
    (spool.folder / "1.6").mkdir()
    assert registry.add(row(2, study="1.6")) is Admission.CONFLICT
    registry.close()
    store.close()
