"""A PostgreSQL server of its own, on a socket in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_node.demo.archives import find_program


def _find(program: str) -> str:
    found = find_program(program) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{program}")), None)
    if found is None:
        pytest.skip("not installed: PostgreSQL")
    return found


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Run an empty server and yield its URL; it takes no connection from elsewhere, and forgets all at the end."""
    initdb, pg_ctl = _find("initdb"), _find("pg_ctl")
    # It refuses to run as root, and a test's own folder is closed to others.
    as_user = {"user": "postgres", "group": "postgres", "extra_groups": ()} if os.getuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run(command, check=True, cwd=folder, capture_output=True, timeout=120, **as_user)

    try:
        run(initdb, "--pgdata", str(data), "--username", "node", "--auth", "trust", "--no-sync", "--encoding", "UTF8")
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        run(pg_ctl, "start", "--wait", "--pgdata", str(data), "--log", str(folder / "log"), "--options", options)
        try:
            yield f"postgresql+psycopg://node@/postgres?host={folder}"
        finally:
            run(pg_ctl, "stop", "--wait", "--mode", "immediate", "--pgdata", str(data))
    finally:
        shutil.rmtree(folder)
