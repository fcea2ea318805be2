"""Names are those of the files that are there now, however long the process has remembered others."""

import threading

import sqlalchemy as sa
from builders import build_dx, phantom, write_part10
from stored_rows import build_row

import dicom_node.operate.identities
from dicom_node.operate.identities import Identities
from dicom_node.store.schema import instances

STUDY = "1.2.3"


def receive(store, folder, number, name):
    path = f"{STUDY}/{number}.dcm"
    store.add_instances([build_row(f"{STUDY}.{number}", STUDY, path=path)])
    write_part10(build_dx(phantom(48, 36), PatientName=name, AccessionNumber=f"A{number}"), folder / path)


def remove(folder):
    """Do to the rows what retention does."""
    with sa.create_engine(f"sqlite:///{folder / 'node.sqlite'}").begin() as connection:
        connection.execute(instances.update().values(removed_at=1.0))


def names(identities):
    return [one and one.name for one in identities.of_studies([STUDY]).values()]


def test_whom_a_study_was_of_is_forgotten_with_its_files_and_read_from_those_that_come_later(tmp_path, store):
    identities = Identities(store, tmp_path)
    receive(store, tmp_path, 1, "DOE^JOHN")
    assert names(identities) == ["DOE JOHN"]
    remove(tmp_path)
    receive(store, tmp_path, 2, "ROE^JANE")
    assert identities.find_accession("A1", within_s=None).studies == frozenset()
    assert identities.find_accession("A2", within_s=None).studies == {STUDY}
    assert names(identities) == ["ROE JANE"]
    remove(tmp_path)
    assert names(identities) == [None]


def test_while_a_later_file_is_read_a_study_is_not_found_by_what_the_earlier_one_said(tmp_path, store, monkeypatch):
    identities, may_read = Identities(store, tmp_path), threading.Event()
    receive(store, tmp_path, 1, "DOE^JOHN")
    assert names(identities) == ["DOE JOHN"]
    remove(tmp_path)
    receive(store, tmp_path, 2, "ROE^JANE")
    read = dicom_node.operate.identities.read_identity
    monkeypatch.setattr(dicom_node.operate.identities, "read_identity", lambda path: may_read.wait(60) and read(path))
    found = identities.find_accession("A1", within_s=0)
    may_read.set()
    assert (found.studies, found.read, found.total) == (frozenset(), 0, 1)
    assert identities.find_accession("A2", within_s=None).studies == {STUDY}
