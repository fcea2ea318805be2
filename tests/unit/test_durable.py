"""Whose files are what a command makes that root has run, in the data folder of the node's user."""

import os
from contextlib import closing
from pathlib import Path

import pytest

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.store import Accounts

NODE_USER = 4711


@pytest.fixture
def given(monkeypatch):
    """Be root, in a folder of the node's user; holds to whom which file is given."""
    given = {}
    plain = Path.stat

    def stat_as_of_the_node(path, **options):
        values = list(plain(path, **options))
        values[4] = values[5] = NODE_USER
        return os.stat_result(values)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, user, _group, **_: given.update({path: user}))
    monkeypatch.setattr(Path, "stat", stat_as_of_the_node)
    return given


def test_a_day_of_the_audit_trail_that_root_begins_is_the_nodes(tmp_path, given):
    trail = AuditTrail(tmp_path / "audit", "NODE")
    trail.note(AuditEvent.OPERATOR, user="root", action="retry")
    (path,) = trail.files()
    assert given == {tmp_path / "audit": NODE_USER, path: NODE_USER}
    given.clear()
    trail.note(AuditEvent.OPERATOR, user="root", action="retry")
    assert not given


def test_a_database_that_root_makes_is_the_nodes(tmp_path, given):
    path = tmp_path / "node.sqlite"
    for expected in ({path: NODE_USER}, {}):
        given.clear()
        with closing(Accounts(f"sqlite:///{path}")):
            assert given == expected


@pytest.mark.usefixtures("given")
def test_root_without_that_right_goes_on(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError

    monkeypatch.setattr(os, "chown", refuse)
    trail = AuditTrail(tmp_path, "NODE")
    trail.note(AuditEvent.OPERATOR, user="root", action="retry")
    assert trail.files()
