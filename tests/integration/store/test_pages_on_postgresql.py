"""What the pages ask is answered by PostgreSQL as by SQLite."""

from contextlib import closing

from many_studies import fill
from postgresql import running_postgresql
from stored_rows import build_row

from dicom_node.statistics.counting import gather_statistics
from dicom_node.store import Store, WorklistQuery
from dicom_node.store.schema import deliveries, image_statistics, revisions

NOW = 1_780_000_000.0
PARKED = "2.25.7"
"""Of which one of two destinations has parked the results."""
QUERIES = (
    {},
    {"states": ("done",)},
    {"states": ("failed",)},
    {"decision": "fracture"},
    {"text": "2.25.1"},
    {"limit": 5, "offset": 20},
)


def answers(url):
    with closing(Store(url)) as store:
        fill(store, 30, until=NOW, every_s=90_000)
        with store._writing() as connection:  # noqa: SLF001  # as an image of which no region was recognised
            mine = image_statistics.c.sop_instance_uid.like("%.1")
            connection.execute(image_statistics.update().where(mine).values(region=None))
            parked = (deliveries.c.study_instance_uid == PARKED, deliveries.c.destination == "backup")
            connection.execute(deliveries.update().where(*parked).values(state="parked"))
            mine = revisions.c.study_instance_uid == PARKED
            connection.execute(revisions.update().where(mine).values(state="delivering"))
        store.add_instances([build_row("1.2.0", "1.2", received_at=NOW)])
        lists = [store.worklist(WorklistQuery(**query)) for query in QUERIES]
        return lists, gather_statistics(store, weeks=6, now=NOW)


def test_worklist_and_statistics_are_the_same_on_both(tmp_path):
    with running_postgresql() as url:
        on_server = answers(url)
    lists, statistics = answers(f"sqlite:///{tmp_path / 'node.sqlite'}")
    assert on_server[0] == lists
    assert on_server[1] == statistics
    assert [total for _, total in lists][:3] == [31, 29, 1]
    assert [one.study_instance_uid for one in lists[0][0]][:3] == [PARKED, "1.2", "2.25.30"]
    assert [one.study_instance_uid for one in lists[2][0]] == [PARKED]
    assert (lists[0][0][1].result_s, lists[0][0][2].result_s is None) == (None, False)
    assert statistics.total.times.versions == 30
    assert {one.name for one in statistics.regions} >= {"HAND", "no region recognised"}
