"""PostgreSQL lets one transaction write at a time, as SQLite does: what was read still holds when it is acted upon."""

import threading
from contextlib import closing

import pytest
import sqlalchemy as sa
from postgresql import running_postgresql
from stored_rows import build_row

from dicom_node.store import RevisionState, Store


@pytest.fixture(scope="module")
def url():
    with running_postgresql() as url:
        yield url


@pytest.fixture
def store(url):
    with closing(Store(url)) as store:
        yield store


def arrive_before(store, url, study, statement):
    """Let an image arrive, by another process, just before the store makes a statement that begins so."""
    arrivals = []

    def arrive():
        with closing(Store(url)) as receiver:
            receiver.add_instances([build_row(f"{study}.2", study, received_at=101.0)])

    def interfere(_connection, _cursor, text, *_):
        if not arrivals and text.startswith(statement):
            arrivals.append(threading.Thread(target=arrive))
            arrivals[0].start()
            arrivals[0].join(2)  # it has come, or waits until this transaction is over

    sa.event.listen(store._engine, "before_cursor_execute", interfere)  # noqa: SLF001
    return arrivals


def list_members(store, study):
    return {
        one.sop_instance_uid for row in store.unmade_revisions() for one in store.revision(study, row.digest).instances
    }


def test_an_image_that_comes_while_its_study_is_closed_belongs_to_a_version(store, url):
    store.add_instances([build_row("1.9.1", "1.9", received_at=100.0)])
    arrivals = arrive_before(store, url, "1.9", "UPDATE studies")
    (seen,) = store.open_studies()
    store.close_revision("1.9", 200.0, seen=seen)
    arrivals[0].join()
    assert [one.study_instance_uid for one in store.open_studies()] == ["1.9"]
    store.close_revision("1.9", 300.0)
    assert list_members(store, "1.9") == {"1.9.1", "1.9.2"}


def test_the_file_of_an_image_that_comes_while_its_study_is_removed_stays(store, url):
    store.add_instances([build_row("1.8.1", "1.8", received_at=100.0)])
    store.close_revision("1.8", 200.0)
    (made,) = (row for row in store.unmade_revisions() if row.study_instance_uid == "1.8")
    store.set_revision_state("1.8", made.digest, RevisionState.DONE)
    arrivals = arrive_before(store, url, "1.8", "SELECT instances.sop_instance_uid, instances.path")
    with store.removal("1.8", 1e12) as removed:
        assert removed == ("1.8/1.8.1.dcm",)
    arrivals[0].join()
    assert not store.find_instance("1.8.2").removed_at


def test_a_writer_that_is_gone_holds_the_others_up_no_longer(store):
    """The server ends what a machine has left open that was switched off."""
    with store._reading() as connection:  # noqa: SLF001
        assert connection.execute(sa.text("SHOW idle_in_transaction_session_timeout")).scalar() == "1min"
