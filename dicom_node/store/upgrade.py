"""A database of an earlier release is brought up to date where it is opened; one of a later release is refused.

All steps are one transaction, and one process at a time does them: whoever else opens the database waits, and then
finds nothing to do. A crash in the middle leaves the database as it was.
"""

import logging

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from dicom_node.errors import ConfigurationError
from dicom_node.store import schema

_LOGGER = logging.getLogger(__name__)

_NUMBER = sa.table("alembic_version", sa.column("version_num", sa.String))
_SCRIPTS = "dicom_node.store:migrations"


def is_up_to_date(connection: sa.Connection) -> bool:
    """Tell whether the database has the schema of this release."""
    return find_number(connection) == schema.NUMBER


def bring_up_to_date(connection: sa.Connection) -> None:
    """Make the tables, or take every step that a database of an earlier release still needs, in this transaction.

    Raises
    ------
    ConfigurationError
        The database is of a later release.
    """
    number = find_number(connection)
    if number == schema.NUMBER:
        return
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _SCRIPTS)
    _refuse_later(number, config)
    is_new = not sa.inspect(connection).get_table_names()
    command.upgrade(config, "head")
    if not is_new:
        _LOGGER.warning("the database is brought from schema %s to %s", number or "without a number", schema.NUMBER)


def look_at_schema(url: str) -> str | None:
    """Return the number of a database's schema, as `find_number` does; nothing is made or changed.

    Raises
    ------
    ConfigurationError
        The database is of a later release.
    sqlalchemy.exc.SQLAlchemyError
        It cannot be opened, or read.
    """
    engine = schema.create_engine(url)
    try:
        with engine.connect() as connection:
            number = find_number(connection)
    finally:
        engine.dispose()
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    _refuse_later(number, config)
    return number


def _refuse_later(number: str | None, config: Config) -> None:
    if number is not None and number not in list_numbers(config):
        raise ConfigurationError(
            f"table [database]: the database was made by a later release (schema {number}; this one knows"
            f" {schema.NUMBER}): install that release again, or put back the backup from before its first start"
        )


def find_number(connection: sa.Connection) -> str | None:
    """Return the number of the database's schema; None where it has none, or no tables at all."""
    if not sa.inspect(connection).has_table(_NUMBER.name):
        return None
    return connection.execute(sa.select(_NUMBER.c.version_num)).scalar()


def list_numbers(config: Config) -> list[str]:
    """List the numbers of all schemas that this release knows, newest first."""
    return [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
