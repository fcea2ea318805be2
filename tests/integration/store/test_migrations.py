"""A database of any release becomes one of this release, whole or not at all."""

import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from earlier_schemas import FIRST, STUDIES, WITH_DISPATCHES, make_database
from postgresql import running_postgresql
from stored_rows import build_row

from dicom_node.errors import ConfigurationError
from dicom_node.store import DeliveryState, RevisionState, Store, schema
from dicom_node.store.upgrade import list_numbers

EARLIER = {"the first release": FIRST, "the one with dispatches": WITH_DISPATCHES}

CRASHING = """
import os, signal, sys
from alembic import op
from dicom_node.store import Store

add_column, added = op.add_column, []

def crash_in_the_middle(*arguments, **others):
    add_column(*arguments, **others)
    added.append(arguments)
    if len(added) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

op.add_column = crash_in_the_middle
Store(sys.argv[1])
"""


@pytest.fixture(scope="module")
def server():
    with running_postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'node.sqlite'}"
    url = request.getfixturevalue("server")
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    engine.dispose()
    return url


def look(url, query):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text(query)).all()
    engine.dispose()
    return found


def describe(url):
    """Describe every table: its columns and indexes, whatever their order."""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {
        table: (
            {column["name"]: (str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)},
            {index["name"]: index["column_names"] for index in inspector.get_indexes(table)},
        )
        for table in inspector.get_table_names()
    }
    engine.dispose()
    return found


def compare(url):
    """Compare the database with the tables that the program works with."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, schema.metadata)
    engine.dispose()
    return differences


def test_all_steps_together_make_the_tables_that_the_program_works_with(url):
    Store(url).close()
    assert compare(url) == []
    assert look(url, "SELECT version_num FROM alembic_version") == [(schema.NUMBER,)]


def test_the_comparison_sees_a_column_that_no_step_makes(url, monkeypatch):
    """The check above is needed: a table of the program with one column more is told."""
    Store(url).close()
    changed = sa.MetaData()
    for table in schema.metadata.sorted_tables:
        table.to_metadata(changed)
    changed.tables["studies"].append_column(sa.Column("forgotten", sa.Integer))
    monkeypatch.setattr(schema, "metadata", changed)
    assert [difference[0] for difference in compare(url)] == ["add_column"]


def test_the_number_in_the_program_is_that_of_the_last_step():
    config = Config()
    config.set_main_option("script_location", "dicom_node.store:migrations")
    assert list_numbers(config)[0] == schema.NUMBER


@pytest.mark.parametrize("release", EARLIER)
def test_a_database_of_an_earlier_release_becomes_one_of_this_release(url, release):
    make_database(url, EARLIER[release])
    assert compare(url) != []
    with closing(Store(url)) as store:
        assert compare(url) == []
        check_what_is_told(store)
        store.add_instances([build_row("1.5.1", "1.5")])
        store.close_revision("1.5", time.time())
        assert [one.study_instance_uid for one in store.unmade_revisions()] == ["1.5"]


def check_what_is_told(store):
    """Check that what the earlier release knew is there, and goes on: nothing is delivered twice or never."""
    delivered, delivering, refused = STUDIES
    found = {one.study_instance_uid: one for one in store.status(10)}
    assert {study: one.state for study, one in found.items()} == {
        delivered: RevisionState.DONE,
        delivering: RevisionState.DELIVERING,
        refused: RevisionState.DONE,
    }
    assert store.find_instance(f"{delivered}.1").size == 3_000_000_000
    due = {one.study_instance_uid for one in store.due_deliveries(time.time())}
    assert due == {delivered, delivering}
    assert store.pending_results(delivered, "d", "archive") == ()
    (unproven,) = store.unproven_results(delivered, "d", "archive")
    assert unproven.sent_at == 130.0
    assert [row.sop_instance_uid for row in store.pending_results(delivering, "d", "archive")] == [f"{delivering}.2"]
    assert [(alarm.destination, alarm.objects) for alarm in store.alarms()] == [("archive", 1)]
    store.record_verified("archive", f"{delivered}.2")
    store.settle("archive", f"{delivered}.2", DeliveryState.DELIVERED, "")
    assert [row.study_instance_uid for row in store.removable_studies(time.time() + 1)] == [delivered]


def test_a_database_that_is_up_to_date_is_only_read(url):
    Store(url).close()
    before = describe(url)
    engine = schema.create_engine(url)
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        connection.execute(schema.studies.update(), {"forced": True})  # another process holds the write lock
        Store(url).close()
    engine.dispose()
    assert describe(url) == before


@pytest.mark.parametrize("release", EARLIER)
def test_a_crash_in_the_middle_leaves_the_database_as_it_was_and_the_next_start_finishes(url, release):
    make_database(url, EARLIER[release])
    before = describe(url)
    crashed = subprocess.run([sys.executable, "-c", CRASHING, url], check=False, timeout=120)
    assert crashed.returncode == -signal.SIGKILL
    assert describe(url) == before
    with closing(Store(url)) as store:
        check_what_is_told(store)
    assert compare(url) == []


def test_processes_that_start_together_take_the_steps_once(url):
    make_database(url, FIRST)
    together, problems = threading.Barrier(4), []

    def start():
        together.wait()
        try:
            Store(url).close()
        except Exception as error:  # noqa: BLE001  # whatever it is, it fails the test
            problems.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert compare(url) == []
    assert look(url, "SELECT version_num FROM alembic_version") == [(schema.NUMBER,)]


def test_a_database_of_a_later_release_is_refused_and_left_alone(url):
    Store(url).close()
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0999'"))
    engine.dispose()
    before = describe(url)
    with pytest.raises(ConfigurationError, match=r"schema 0999.*install that release again, or put back the backup"):
        Store(url)
    assert describe(url) == before
