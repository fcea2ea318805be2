import errno
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from dicom_node.audit import AuditEvent, AuditTrail, Transfers, running_application, trail

NAME = "DOE^JOHN"


@pytest.fixture
def audit(tmp_path):
    return AuditTrail(tmp_path / "audit", "NODE")


def lines(audit):
    return [json.loads(line) for path in audit.files() for line in path.read_text().splitlines()]


def test_a_line_says_what_happened_when_and_in_which_process(audit):
    audit.note(AuditEvent.INSTANCE_RECEIVED, calling_ae_title="PACS", sop_instance_uid="1.2.3", status=0)
    (line,) = lines(audit)
    at = line.pop("at")
    assert at.endswith("+00:00")
    assert audit.files()[0].name == f"{at[:10]}.jsonl"
    assert line == {
        "event": "instance received",
        "node": "NODE",
        "pid": os.getpid(),
        "calling_ae_title": "PACS",
        "sop_instance_uid": "1.2.3",
        "status": 0,
    }


def test_file_and_folder_are_private_whatever_the_umask(audit):
    before = os.umask(0)
    try:
        audit.note(AuditEvent.APPLICATION_START, role="worker")
    finally:
        os.umask(before)
    assert stat.S_IMODE(audit.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(audit.files()[0].stat().st_mode) == 0o600


@pytest.mark.parametrize("value", [NAME, "1.2.3\n1.2.4", "1." * 33, "", "../1.2"])
def test_what_is_no_uid_is_not_written_where_a_uid_belongs(audit, value):
    audit.note(AuditEvent.INSTANCE_RECEIVED, sop_instance_uid=value, images=[{"sop_instance_uid": value}])
    (line,) = lines(audit)
    assert line["sop_instance_uid"] == "(no UID)"
    assert line["images"] == [{"sop_instance_uid": "(no UID)"}]


def test_a_text_breaks_no_line_and_moves_no_cursor(audit):
    audit.note(
        AuditEvent.ASSOCIATION_REFUSED, calling_ae_title='A\n{"event":"x"}', reason="\x1b[2J\u2028\u202e" + 300 * "y"
    )
    assert len(audit.files()[0].read_bytes().splitlines()) == 1
    (line,) = lines(audit)
    assert line["calling_ae_title"] == 'A?{"event":"x"}'
    assert line["reason"].startswith("?[2J??y")
    assert len(line["reason"]) == 200


WRITER = """
import sys
from pathlib import Path
from dicom_node.audit import AuditEvent, AuditTrail
audit = AuditTrail(Path(sys.argv[1]), "NODE")
for number in range(300):
    audit.note(AuditEvent.INSTANCE_RECEIVED, number=number, padding="x" * 150)
"""


def write_many(audit):
    for number in range(300):
        audit.note(AuditEvent.INSTANCE_RECEIVED, number=number, padding="x" * 150)


def test_lines_of_many_threads_and_processes_stay_whole(audit):
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, str(audit.folder)]) for _ in range(2)]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(write_many, audit)
    assert [process.wait(120) for process in processes] == [0, 0]
    assert sorted(line["number"] for line in lines(audit)) == sorted(list(range(300)) * 6)


def test_a_full_disk_is_said_in_the_log_and_stops_nothing(audit, monkeypatch, caplog):
    def refuse(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trail.os, "write", refuse)
    audit.note(AuditEvent.STUDY_ANALYSED, study_instance_uid="1.2.3")
    assert "No space left on device" in caplog.text


def test_whoever_knocks_again_and_again_does_not_fill_the_disk(audit, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(trail.time, "monotonic", lambda: now[0])
    for _ in range(1000):
        audit.alert(AuditEvent.CONNECTION_REFUSED, host="192.0.2.1", reason="no sender has this address")
    assert len(lines(audit)) == 60
    now[0] = 61
    audit.alert(AuditEvent.CONNECTION_REFUSED, host="192.0.2.1", reason="no sender has this address")
    assert lines(audit)[-1]["unwritten"] == 940
    audit.alert(AuditEvent.CONNECTION_REFUSED, host="192.0.2.1", reason="no sender has this address")
    assert "unwritten" not in lines(audit)[-1]


def test_start_and_stop_of_a_process_are_lines(audit):
    with pytest.raises(ZeroDivisionError), running_application(audit, "web"):
        raise ZeroDivisionError
    assert [(line["event"], line["role"]) for line in lines(audit)] == [
        ("application start", "web"),
        ("application stop", "web"),
    ]


def test_an_association_makes_a_line_for_each_study_and_outcome(audit):
    transfers = Transfers()
    for study, success in (("1.1", True), ("1.1", True), ("1.1", False), ("1.2", True)):
        transfers.count(study, "1.2.840.10008.5.1.4.1.1.1", success=success)
    for _ in range(2):  # the second time there is nothing more to say
        transfers.note(audit, peer_ae_title="PACS", host="192.0.2.1")
    said = [(line["study_instance_uid"], line["success"], line["sop_classes"]) for line in lines(audit)]
    cr = "1.2.840.10008.5.1.4.1.1.1"
    assert said == [("1.1", True, {cr: 2}), ("1.1", False, {cr: 1}), ("1.2", True, {cr: 1})]


def test_what_is_flushed_is_the_file_that_is_written_also_where_the_clock_was_set_back_over_midnight(
    audit, monkeypatch
):
    audit.note(AuditEvent.APPLICATION_START, role="worker")
    (today,) = audit.files()
    (audit.folder / "9999-12-31.jsonl").touch()
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.path.realpath(f"/proc/self/fd/{descriptor}")))
    audit.sync()
    assert flushed == [str(today)]
