"""Files go where the delivery is proven, or the operator wants no proof; what was merely believed is kept, and said."""

import json
import time
from contextlib import closing

import pytest
from many_studies import fill
from postgresql import running_postgresql
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.retention import Retention
from dicom_node.settings import Proof, RetentionSettings
from dicom_node.store import DeliveryState, RevisionState, Store, UnprovenFiles
from dicom_node.store.schema import deliveries, instances, revisions
from dicom_node.values import ResultKind

LATER = 31 * 86_400
NOTHING_ASKED = {"commitment": Proof.NEVER, "verify": Proof.NEVER}
MANY = 3000


def removable(one):
    """List the studies of a bench that retention would remove in their time, by the settings of its destination."""
    retention = Retention(RetentionSettings(files_days=30), one.node, one.store, believed=one.believed)
    return [study.study_instance_uid for study in retention.removable(time.time() + LATER)], retention.unproven()


@pytest.mark.fault(63)
@pytest.mark.parametrize(
    ("offers", "options"),
    [
        (("store",), {}),
        (("store",), {"commitment": Proof.NEVER}),
        (("store",), {"verify": Proof.NEVER}),
        (("store", "find"), {"verify": Proof.NEVER}),
    ],
    ids=["it offers none", "no commitment wanted", "no C-FIND wanted", "only what is not wanted"],
)
def test_what_an_archive_was_merely_believed_about_is_kept_and_counted(archive, bench, offers, options):
    """Without commitment and C-FIND the revision is done, and its files stay however long it is ago."""
    one = bench(archive(offers=offers).port, **options)
    assert one.attempt().sent == 2
    assert one.state is RevisionState.DONE
    assert removable(one) == ([], [UnprovenFiles(destination="archive", studies=1)])


def test_what_the_operator_wants_no_proof_of_goes(archive, bench):
    """With both keys "never" its Success is believed; also of what was sent before they were set."""
    one = bench(archive(offers=("store",)).port)
    one.attempt()
    assert removable(one)[0] == []
    one.destination = one.destination.model_copy(update=NOTHING_ASKED)
    assert removable(one) == ([one.study], [])


def test_what_was_sent_to_whom_nobody_asks_goes(archive, bench):
    one = bench(archive(offers=("store",)).port, **NOTHING_ASKED)
    one.attempt()
    assert removable(one) == ([one.study], [])


@pytest.mark.parametrize("way", ["find", "commitment"])
def test_one_proof_is_enough(archive, bench, way):
    """Found by C-FIND, or vouched for on the association that asked: either lets the files go."""
    one = bench(archive(offers=("store", way), report="same").port, report_wait_s=5)
    now = one.attempt()
    assert (now.verified, now.committed) == ((2, 0) if way == "find" else (0, 2))
    assert removable(one) == ([one.study], [])


def test_one_object_without_proof_keeps_them_all(archive, bench):
    one = bench(archive(offers=("store", "find")).port)
    one.attempt()
    with one.store._writing() as connection:  # noqa: SLF001  # as an archive that was asked about one of them only
        mine = deliveries.c.sop_instance_uid == one.results[0].sop_instance_uid
        connection.execute(deliveries.update().where(mine).values(verified_at=None))
    assert removable(one) == ([], [UnprovenFiles(destination="archive", studies=1)])


def test_a_proof_that_comes_late_begins_the_days_anew(archive, bench):
    """A report long after the archive was given up: the files go days after it, not days after the sending."""
    one = bench(archive(offers=("store",)).port)
    one.attempt()
    long_ago = time.time() - LATER
    with one.store._writing() as connection:  # noqa: SLF001  # rows of a month ago
        connection.execute(deliveries.update().values(changed_at=long_ago, committed_at=time.time()))
        connection.execute(instances.update().values(received_at=long_ago))
        connection.execute(revisions.update().values(changed_at=long_ago))
    retention = Retention(RetentionSettings(files_days=30), one.node, one.store)
    assert retention.removable(time.time()) == []
    assert len(retention.removable(time.time() + LATER)) == 1


@pytest.mark.parametrize(("offers", "goes"), [(("capture", "find"), True), (("capture",), False)])
def test_a_form_that_was_left_out_is_proven_with_the_answer_in_another_form(archive, bench, offers, goes):
    kinds = ("secondary capture", ResultKind.STRUCTURED_REPORT)
    one = bench(archive(offers=offers).port, kinds=kinds)
    now = one.attempt()
    assert (now.sent, now.left_out) == (1, 1)
    assert removable(one)[0] == ([one.study] if goes else [])


def test_a_form_that_was_left_out_where_nothing_else_was_to_be_sent_proves_nothing(archive, bench):
    one = bench(archive(offers=("capture",)).port, kinds=[ResultKind.STRUCTURED_REPORT] * 2, **NOTHING_ASKED)
    for each in one.results:
        one.store.record_delivery("archive", each.sop_instance_uid, DeliveryState.LEFT_OUT, "no such class")
    one.store.finish_delivered()
    assert removable(one)[0] == []


def test_a_rejection_note_needs_no_proof(archive, bench):
    """An archive that heeds it may hide it; what proves the answer are the other results."""
    one = bench(archive(offers=("store", "find"), find=None).port, kinds=("result", ResultKind.REJECTION_NOTE))
    one.attempt()
    one.attempt()  # the note follows the proof
    assert one.state is RevisionState.DONE
    assert removable(one) == ([one.study], [])


def test_the_commands_say_how_many_are_kept_by_which_destination_and_what_to_set(archive, bench, tmp_path):
    """`retention` and `status` count them; after what they say was set, the files would go."""
    one = bench(archive(offers=("store",)).port)
    one.attempt()
    config = tmp_path / "node.toml"
    text = (
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{tmp_path}"\n[[senders]]\nae_title = "A"\n'
        '[retention]\nfiles_days = 0.0000001\n[[destinations]]\nname = "archive"\nae_title = "ARCHIVE"\n'
        'host = "127.0.0.1"\nport = 104\n'
    )
    config.write_text(text)

    def say(*command):
        shown = CliRunner().invoke(app, [*command, "--config", str(config)], env={"COLUMNS": "300"})
        assert shown.exit_code == 0, shown.output
        return shown.output

    for command in ("retention", "status"):
        said = " ".join(say(command).split())
        assert "kept archive: the files of 1 study are kept" in said
        assert 'set commitment = "never" and verify = "never" under its [[destinations]]' in said
        assert f"removable {one.study}" not in said
    assert json.loads(say("status", "--json"))["kept_unproven"] == [{"destination": "archive", "studies": 1}]
    config.write_text(text.replace('"archive"', '"another"'))
    assert "it is no longer configured" in say("status")
    config.write_text(f'{text}commitment = "never"\nverify = "never"\n')
    time.sleep(0.05)  # longer than the files are to be kept
    assert f"removable {one.study}" in " ".join(say("retention").split())
    assert "kept " not in say("status")
    config.write_text(text.replace("files_days = 0.0000001", "files_days = 0"))
    assert "kept " not in say("status"), "nothing goes anyway"


def test_the_status_tells_of_each_object_what_is_sent_committed_and_verified(archive, bench, tmp_path):
    """JSON has every object with its times; the text has those that are not proven, with the reason."""
    one = bench(archive(store=(0x0000, 0xA900), offers=("store", "find")).port)
    one.attempt()
    taken, refused = one.store.status(1)[0].objects
    assert [each.sop_instance_uid for each in (taken, refused)] == [each.sop_instance_uid for each in one.results]
    assert taken.sent_at <= taken.verified_at <= time.time()
    assert (taken.state, taken.committed_at, taken.kind) == (DeliveryState.DELIVERED, None, "result")
    assert (refused.state, refused.sent_at, refused.verified_at) == (DeliveryState.PARKED, None, None)
    config = tmp_path / "node.toml"
    config.write_text(
        f'[node]\nae_title = "FRACTUREAI"\ndata_dir = "{tmp_path}"\n[[senders]]\nae_title = "A"\n'
        '[[destinations]]\nname = "archive"\nae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = 104\n'
    )
    shown = CliRunner().invoke(app, ["status", "--config", str(config)], env={"COLUMNS": "300"}).output
    assert f"archive: not proven: {refused.sop_instance_uid}, result, parked: " in " ".join(shown.split())
    assert taken.sop_instance_uid not in shown
    as_json = CliRunner().invoke(app, ["status", "--json", "--config", str(config)]).output
    objects = json.loads(as_json)["revisions"][0]["objects"]
    assert [(each["destination"], each["state"]) for each in objects] == [
        ("archive", "delivered"),
        ("archive", "parked"),
    ]
    assert objects[0]["verified_at"] == taken.verified_at


def look(url):
    """Ask a database of thousands of studies, a tenth of them without proof, what may go; return answer and seconds."""
    now = time.time()
    with closing(Store(url)) as store:
        fill(store, MANY, until=now - LATER, every_s=60)
        with store._writing() as connection:  # noqa: SLF001  # thousands of rows at once
            mine = deliveries.c.study_instance_uid.like("%7")
            connection.execute(deliveries.update().values(verified_at=now - LATER))
            connection.execute(deliveries.update().where(mine).values(verified_at=None))
            if url.startswith("postgresql"):
                connection.exec_driver_sql("ANALYZE")  # as the server does by itself within a minute
        begun = time.perf_counter()
        goes, kept = store.removable_studies(now), store.unproven_files()
        took_s = time.perf_counter() - begun
        everything = store.removable_studies(now, believed={"archive", "backup"})
        with store.removal("2.25.8", now) as paths:
            assert len(paths) == 3
        with store.removal("2.25.7", now) as paths:
            assert paths is None
        return [len(goes), kept, len(everything)], took_s


def test_thousands_of_studies_are_looked_through_in_seconds_on_both_databases(tmp_path):
    """What may go and what is kept is found fast enough to be asked by a command, on SQLite and on PostgreSQL."""
    with running_postgresql() as url:
        told, server_s = look(url)
    same, file_s = look(f"sqlite:///{tmp_path / 'node.sqlite'}")
    kept = [UnprovenFiles(destination=name, studies=MANY // 10) for name in ("archive", "backup")]
    assert told == same == [MANY - MANY // 10, kept, MANY]
    assert max(server_s, file_s) < 5, f"PostgreSQL {server_s:.2f} s, SQLite {file_s:.2f} s"
