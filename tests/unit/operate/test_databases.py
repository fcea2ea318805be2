"""What the doctor says of the databases: each one that a start would stumble over, and that none is made or changed."""

import pytest
import sqlalchemy as sa
from postgresql import running_postgresql
from web_bench import build_settings

from dicom_node.demo.archives import find_free_port
from dicom_node.operate.databases import check_databases
from dicom_node.operate.doctor import CHECKS
from dicom_node.settings import DatabaseSettings
from dicom_node.store import Store


def look(settings, **urls):
    return list(check_databases(settings.model_copy(update={"database": DatabaseSettings(**urls)})))


def test_the_doctor_looks_at_the_databases():
    assert check_databases in CHECKS


def test_a_database_that_is_not_there_yet_is_not_made(tmp_path):
    (finding,) = look(build_settings(tmp_path / "node"))
    assert finding.ok
    assert not (tmp_path / "node").exists()


def test_a_database_of_a_later_release_is_said_to_be_one(tmp_path):
    settings = build_settings(tmp_path)
    Store(settings.database_url).close()
    assert look(settings)[0].ok
    engine = sa.create_engine(settings.database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    (finding,) = look(settings)
    assert not finding.ok
    assert "later release" in finding.says
    assert "backup" in finding.remedy


def test_a_file_that_is_no_database_is_wrong(tmp_path):
    (tmp_path / "node.sqlite").write_bytes(b"no database" * 100)
    (finding,) = look(build_settings(tmp_path))
    assert not finding.ok
    assert str(tmp_path / "node.sqlite") in finding.says


def test_a_server_that_does_not_answer_is_wrong_and_its_password_is_not_shown(tmp_path):
    url = f"postgresql+psycopg://node:secret@127.0.0.1:{find_free_port()}/node"
    findings = look(build_settings(tmp_path), url=url, workflow_url=url)
    assert [finding.ok for finding in findings] == [False, False]
    assert "127.0.0.1" in findings[0].says
    assert "secret" not in str(findings)


@pytest.fixture(scope="module")
def postgresql():
    with running_postgresql() as url:
        yield url


def test_a_workflow_database_that_is_missing_is_made_by_the_node_and_the_other_is_not(tmp_path, postgresql):
    missing = postgresql.replace("/postgres?", "/none?")
    assert [one.ok for one in look(build_settings(tmp_path), url=postgresql, workflow_url=missing)] == [True, True]
    assert [one.ok for one in look(build_settings(tmp_path), url=missing, workflow_url=missing)] == [False, True]
