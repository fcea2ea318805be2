"""How the store's methods reach the database."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from dicom_node.durable import PRIVATE_FILE, PRIVATE_FOLDER, leave_to_owner
from dicom_node.store import schema
from dicom_node.store.upgrade import bring_up_to_date, is_up_to_date


class Database:
    """An engine, and transactions on it. Safe to use from several threads and processes."""

    def __init__(self, url: str) -> None:
        """Open a database; it is made, or brought up to date, where that is needed.

        Raises
        ------
        ConfigurationError
            It is of a later release.
        """
        database = sa.make_url(url).database
        if url.startswith("sqlite") and database:
            path = Path(database)
            path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
            if not path.exists():
                path.touch(mode=PRIVATE_FILE)
                leave_to_owner(path)
        self._engine = schema.create_engine(url)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        with self._reading() as connection:
            ready = is_up_to_date(connection)
        if not ready:
            with self._writing() as connection:
                bring_up_to_date(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with self._engine.connect() as connection:
            yield connection
