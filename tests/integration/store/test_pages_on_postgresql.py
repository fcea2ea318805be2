"""What the pages ask is answered by PostgreSQL as by SQLite."""

from contextlib import closing

from many_studies import fill
from postgresql import running_postgresql

from dicom_node.statistics.counting import gather_statistics
from dicom_node.store import Store, WorklistQuery
from dicom_node.store.schema import image_statistics

NOW = 1_780_000_000.0
QUERIES = ({}, {"states": ("done",)}, {"decision": "fracture"}, {"text": "2.25.1"}, {"limit": 5, "offset": 20})


def answers(url):
    with closing(Store(url)) as store:
        fill(store, 30, until=NOW, every_s=90_000)
        with store._writing() as connection:  # noqa: SLF001  # as an image of which no region was recognised
            mine = image_statistics.c.sop_instance_uid.like("%.1")
            connection.execute(image_statistics.update().where(mine).values(region=None))
        lists = [store.worklist(WorklistQuery(**query)) for query in QUERIES]
        return lists, gather_statistics(store, weeks=6, now=NOW)


def test_worklist_and_statistics_are_the_same_on_both(tmp_path):
    with running_postgresql() as url:
        on_server = answers(url)
    lists, statistics = answers(f"sqlite:///{tmp_path / 'node.sqlite'}")
    assert on_server[0] == lists
    assert on_server[1] == statistics
    assert [total for _, total in lists][:2] == [30, 30]
    assert statistics.total.times.versions == 30
    assert {one.name for one in statistics.regions} >= {"HAND", "no region recognised"}
