"""What the doctor says of `[database]`: whether the next start can use it. Nothing is made or changed."""

import os
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from dicom_node.errors import ConfigurationError
from dicom_node.operate.finding import Finding
from dicom_node.settings import Settings
from dicom_node.store import look_at_schema

_SERVERS_OWN = "postgres"
"""The database that a PostgreSQL server has from the first: from there the workflow's is made where it is missing."""
_REMEDY = "start or mend it, or correct [database]"


def check_databases(settings: Settings) -> Iterator[Finding]:
    """Check the database of the node's state, and the server of the workflow's where that is another than a file."""
    yield _check("database", settings.database_url)
    workflow = sa.make_url(settings.workflow_url)
    if workflow.get_backend_name() == "postgresql":
        found = _check("workflow database", settings.workflow_url)
        elsewhere = workflow.set(database=_SERVERS_OWN).render_as_string(hide_password=False)
        yield found if found.ok else _check("workflow database", elsewhere)


def _check(subject: str, url: str) -> Finding:
    where, path = _describe(url)
    if path and not path.exists():
        return Finding(subject=subject, ok=True, says=f"{where} is made at the first start")
    if path and not os.access(path, os.W_OK):
        remedy = f"give it to the node's user, and run the doctor as that user: chown … {path}"
        return Finding(subject=subject, ok=False, says=f"{where} cannot be written", remedy=remedy)
    try:
        look_at_schema(url)
    except ConfigurationError as error:
        said, _, remedy = str(error).partition("): ")
        return Finding(subject=subject, ok=False, says=f"{said})", remedy=remedy)
    except sa.exc.SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", None) or type(error).__name__).split())
        return Finding(subject=subject, ok=False, says=f"{where} cannot be used: {said}", remedy=_REMEDY)
    return Finding(subject=subject, ok=True, says=f"{where} can be used")


def _describe(url: str) -> tuple[str, Path | None]:
    """Say which database it is, without user and password; with the path of one that is a file."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        return str(path), path
    return f"{parsed.database} at {parsed.host or 'a socket of this machine'}", None
