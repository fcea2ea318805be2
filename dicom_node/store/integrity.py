"""A SQLite database that a broken disk or an accident has damaged: looked for at every start, and put out of the way.

The instance rows are made again from the spool, and everything else from them: results have derived UIDs, so that an
archive that has them already gets nothing new.
"""

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

_LOGGER = logging.getLogger(__name__)


def set_aside_if_corrupt(url: str) -> Path | None:
    """Rename the database of a URL where it is damaged, and say what its name is now; None where it stays.

    Call it while no process has the database open. Only SQLite is looked at: other servers look after themselves.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    path = Path(parsed.database)
    if not path.exists() or not _is_corrupt(path):
        return None
    aside = path.with_name(f"{path.name}.corrupt-{int(time.time())}")
    for suffix in ("-wal", "-shm"):
        log = path.with_name(path.name + suffix)
        if log.exists():
            log.replace(aside.with_name(aside.name + suffix))
    path.replace(aside)
    _LOGGER.error("the database %s is damaged: it is now %s, and a new one is made", path, aside.name)
    return aside


def _is_corrupt(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as database:
            return database.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]
    except sqlite3.OperationalError:
        return False  # locked, or not to be opened: that is another fault, and it is told where it stops somebody
    except sqlite3.DatabaseError:
        return True
