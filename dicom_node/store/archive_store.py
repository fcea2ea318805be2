"""One method for each thing that is asked or said about what archives hold."""

from collections.abc import Sequence
from dataclasses import asdict

import sqlalchemy as sa

from dicom_node.store.database import Database
from dicom_node.store.expectations import compare, describe_expectation, encode_listing, list_received_uids
from dicom_node.store.records import Retrieval
from dicom_node.store.rows import add_event
from dicom_node.store.schema import instances, results, retrievals, studies
from dicom_node.values import ListedImage


class ArchiveStore(Database):
    """What archives listed of studies, and what was fetched from them."""

    def record_listing(
        self, study_instance_uid: str, archive: str, images: Sequence[ListedImage] | None, *, asked_at: float
    ) -> None:
        """Record what an archive listed of an open study; None: it could not be asked. An event where that is news."""
        where = (studies.c.study_instance_uid == study_instance_uid, studies.c.first_open_at.is_not(None))
        listing = encode_listing(archive, images)
        with self._writing() as connection:
            row = connection.execute(sa.select(studies.c.listing).where(*where)).first()
            if row is None:
                return  # closed meanwhile
            received = list_received_uids(connection, study_instance_uid)
            before, after = compare(row.listing, received), compare(listing, received)
            connection.execute(studies.update().where(*where), {"listing": listing, "asked_at": asked_at})
            if after is not None and after != before:
                add_event(connection, study_instance_uid, describe_expectation(after))

    def received_uids(self, study_instance_uid: str) -> set[str]:
        """Return the SOP Instance UIDs of everything that has come of a study."""
        with self._reading() as connection:
            return list_received_uids(connection, study_instance_uid)

    def own_series(self, study_instance_uid: str) -> set[str]:
        """Return the Series Instance UIDs of the results that this node has made of a study."""
        query = sa.select(results.c.series_instance_uid).where(results.c.study_instance_uid == study_instance_uid)
        with self._reading() as connection:
            return set(connection.execute(query).scalars())

    def is_open(self, study_instance_uid: str) -> bool:
        """Tell whether a study has instances that belong to no revision yet."""
        where = (studies.c.study_instance_uid == study_instance_uid, studies.c.first_open_at.is_not(None))
        with self._reading() as connection:
            return connection.execute(sa.select(studies.c.study_instance_uid).where(*where)).first() is not None

    def find_retrieval(self, archive: str, study_instance_uid: str) -> Retrieval | None:
        """Return how far the fetching of a study is; None where it was never looked at."""
        columns = [retrievals.c[name] for name in Retrieval.__dataclass_fields__]
        where = (retrievals.c.archive == archive, retrievals.c.study_instance_uid == study_instance_uid)
        with self._reading() as connection:
            row = connection.execute(sa.select(*columns).where(*where)).mappings().first()
        return None if row is None else Retrieval(**row)

    def given_up_retrievals(self, tries: int) -> list[Retrieval]:
        """List what was fetched more often than `tries` allows and never came whole."""
        return self._list_given_up(tries)

    def resumed_retrievals(self, archive: str, tries: int) -> list[Retrieval]:
        """List what of an archive's was given up, and has got more since it was last compared, whoever sent that."""
        came_since = sa.exists().where(
            instances.c.study_instance_uid == retrievals.c.study_instance_uid,
            instances.c.received_at > retrievals.c.next_try_at,
        )
        return self._list_given_up(tries, retrievals.c.archive == archive, came_since)

    def _list_given_up(self, tries: int, *where: sa.ColumnElement[bool]) -> list[Retrieval]:
        columns = [retrievals.c[name] for name in Retrieval.__dataclass_fields__]
        given_up = (retrievals.c.is_whole.is_(False), retrievals.c.tries > tries, *where)
        query = sa.select(*columns).where(*given_up).order_by(retrievals.c.next_try_at)
        with self._reading() as connection:
            return [Retrieval(**row) for row in connection.execute(query).mappings()]

    def record_retrieval(self, retrieval: Retrieval, *, event: str = "") -> None:
        """Record how far the fetching of a study is, with an event where there is something to tell."""
        where = (
            retrievals.c.archive == retrieval.archive,
            retrievals.c.study_instance_uid == retrieval.study_instance_uid,
        )
        with self._writing() as connection:
            if connection.execute(retrievals.update().where(*where), asdict(retrieval)).rowcount == 0:
                connection.execute(retrievals.insert(), asdict(retrieval))
            if event:
                add_event(connection, retrieval.study_instance_uid, event)
