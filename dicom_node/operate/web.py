"""The web process: health and readiness for whoever watches the node. No patient data."""

import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Annotated

import uvicorn
from fastapi import FastAPI, Query, Response, status

from dicom_node import __version__
from dicom_node.alerts.alerting import watching_worker
from dicom_node.durable import write_durably
from dicom_node.operate.metrics import build_metrics
from dicom_node.processes import wait_for_stop
from dicom_node.receive.admission import DiskWatermark
from dicom_node.receive.status import RefusedError
from dicom_node.settings import Settings
from dicom_node.store import RevisionStatus, Store

_LISTEN = "0A"
"""State of a socket in /proc/net/tcp (proc(5))."""


def build_app(settings: Settings, store: Store) -> FastAPI:
    """Build the application: `/healthz`, `/readyz`, `/studies`, `/metrics`."""
    app = FastAPI(title="DICOM fracture AI node", version=__version__, docs_url=None, redoc_url=None)
    app.include_router(build_metrics(settings, store))

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok", "version": __version__}

    @app.get("/readyz")
    def readyz(response: Response) -> dict[str, bool]:
        checks = {
            "receiver": is_listened_on(settings.node.host, settings.node.port),
            "worker": worker_is_alive(settings, time.time()),
            "disk": disk_keeps_files(settings),
        }
        if not all(checks.values()):
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return checks

    @app.get("/studies")
    def studies(limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[RevisionStatus]:
        return store.status(limit)

    return app


def accepts_connections(host: str, port: int) -> bool:
    """Tell whether something listens there."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def is_listened_on(host: str, port: int) -> bool:
    """Tell whether something on this machine listens there, without a connection.

    One from here, asked for every few seconds, would be a stranger's to a receiver whose senders are all elsewhere.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        tables = [Path(f"/proc/net/{name}") for name in ("tcp", "tcp6")]
        rows = [row.split() for table in tables if table.exists() for row in table.read_text().splitlines()[1:]]
    except OSError:
        return False
    wanted = {f"{_write_address(family, str(address[0]))}:{port:04X}" for family, _, _, _, address in found}
    wanted |= {f"{every}:{port:04X}" for every in ("0" * 8, "0" * 32)}
    return any(row[1] in wanted and row[3] == _LISTEN for row in rows)


def _write_address(family: int, address: str) -> str:
    """Write an address as proc(5) does: words in the machine's own order, hexadecimal."""
    packed = socket.inet_pton(family, address.partition("%")[0])
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))


def worker_is_alive(settings: Settings, now: float) -> bool:
    """Tell whether the worker has swept lately; one that waits for its lock, or dies again and again, has not."""
    try:
        swept_at = settings.node.heartbeat.stat().st_mtime
    except OSError:
        return False
    return now - swept_at < max(10, 5 * settings.completion.sweep_s)


def disk_keeps_files(settings: Settings) -> bool:
    """Tell whether the disk has room for objects, and keeps what is written on it: writes a file, and removes it."""
    probe = settings.node.data_dir / f"{os.getpid()}.probe"
    try:
        DiskWatermark(settings.node.data_dir, settings.receive.minimum_free_mb * 1e6).check()
        write_durably(probe, b"kept")
        probe.unlink()
    except (OSError, RefusedError):
        return False
    return True


def run_web(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    store = Store(settings.database_url)
    app = build_app(settings, store)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.web.host,
            port=settings.web.port,
            log_config=None,  # the node's: uvicorn's prints the texts of exceptions
            log_level="warning",
            access_log=False,
        )
    )
    # In a thread of its own uvicorn leaves the signals to us, and a stop is an exit with code 0.
    thread = threading.Thread(target=server.run, name="web")
    thread.start()
    with watching_worker(settings, store):
        wait_for_stop(unless=lambda: not thread.is_alive())
    server.should_exit = True
    thread.join()
    store.close()
    return 0 if server.started else 1
