"""The search for leaks finds what it is to find: otherwise a clean result would mean nothing."""

import base64
import os
import pickle
import sqlite3
import tempfile

import pytest
from builders import build_dx, phantom, write_part10
from canary import BIRTH_DATE, KEYWORDS, files_below, holds_word, leaks, make_canary, name_of, word
from running import wait_for
from temporary_watch import TemporaryWatch


def spellings():
    text = f"name is {word(7)}!"
    yield "plain", text.encode()
    yield "lower case", text.lower().encode()
    yield "upper case", text.upper().encode()
    yield "UTF-16", text.encode("utf-16")
    for before in range(3):
        yield f"base64 {before}", base64.b64encode(b"x" * before + text.encode())
    yield "pickled, in base64", base64.b64encode(pickle.dumps({"a": [text]}))
    yield "birth date", f"born {BIRTH_DATE}.".encode()


@pytest.mark.parametrize(("name", "content"), [*spellings()])
def test_a_word_is_found_in_every_spelling(name, content):
    assert holds_word(content), name


@pytest.mark.parametrize(
    "content", [b"", b"Zqxwk jvp", f"2.25.1{BIRTH_DATE}".encode(), f"a{BIRTH_DATE}b".encode(), bytes(range(256)) * 99]
)
def test_nothing_is_found_where_there_is_nothing(content):
    assert not holds_word(content)


def test_a_word_is_found_in_a_database_s_log_and_in_what_was_deleted(tmp_path):
    connection = sqlite3.connect(tmp_path / "a.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (?)", (word(1),))
    connection.commit()
    connection.execute("DELETE FROM t")
    connection.commit()
    assert leaks(files_below(tmp_path)) == {"a.sqlite-wal": {KEYWORDS[1]}}
    connection.close()


def test_every_kind_of_identity_is_a_word_of_the_canary(tmp_path):
    content = write_part10(make_canary(build_dx(phantom(8, 8))), tmp_path / "a.dcm").read_bytes()
    found = name_of(content)
    assert len(found) > 350
    assert found > {
        "PatientName",
        "PatientID",
        "OtherPatientIDs",
        "AccessionNumber",
        "InstitutionName",
        "InstitutionAddress",
        "ReferringPhysicianName",
        "PerformingPhysicianName",
        "OperatorsName",
        "StudyDescription",
        "StudyID",
        "PatientComments",
        "ImageComments",
        "RequestedProcedureDescription",
        "word 9001",
        "word 9002",
        "word 9003",
        "word 9004",
    }


@pytest.mark.parametrize("kind", [tempfile.NamedTemporaryFile, tempfile.TemporaryFile], ids=["named", "nameless"])
def test_a_temporary_file_is_seen_although_it_is_gone_at_the_end(tmp_path, kind):
    with TemporaryWatch([tmp_path], lambda: [os.getpid()]) as watch:
        with kind(dir=tmp_path) as file:
            file.write(word(1).encode())
            file.flush()
            wait_for("it is seen", lambda: leaks([*watch.seen.items()]), within_s=10)
        assert list(tmp_path.iterdir()) == []
    assert set().union(*leaks(watch.seen.items()).values()) == {KEYWORDS[1]}
