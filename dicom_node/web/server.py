"""The web process."""

import gc
import logging
import math
import threading
from contextlib import closing

import uvicorn

from dicom_node.alerts.alerting import watching_worker
from dicom_node.processes import wait_for_stop
from dicom_node.settings import Settings
from dicom_node.store import Accounts, Store
from dicom_node.web.application import build_app
from dicom_node.web.patience import PatientProtocol
from dicom_node.web.uploads import remove_left_behind

_LOGGER = logging.getLogger(__name__)


def spare_collector() -> None:
    """Keep what is there for good out of the garbage collector's way.

    A page that reads tens of thousands of rows sets it off, and looking through all modules took as long as the page.
    """
    gc.collect()
    gc.freeze()


def run_web(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    web = settings.web
    with closing(Store(settings.database_url)) as store, closing(Accounts(settings.database_url)) as accounts:
        app = build_app(settings, store, accounts)
        remove_left_behind(settings.node.uploads_dir)
        spare_collector()
        if app.state.site.first_run.prepare():
            where = f"http://{web.host}:{web.port}/first-run"
            _LOGGER.warning("nobody can sign in yet: %s, with the token in %s", where, settings.node.first_run_file)
        if not web.https and web.host not in {"127.0.0.1", "::1", "localhost"}:
            _LOGGER.warning("pages and passwords go over the network unencrypted: put a proxy with TLS before them")
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=web.host,
                port=web.port,
                http=PatientProtocol,
                log_config=None,  # the node's: uvicorn's prints the texts of exceptions
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # the application believes those of `[web] proxies`
                timeout_graceful_shutdown=math.ceil(settings.node.grace_s),  # without it, for whoever sends slowly
            )
        )
        # In a thread of its own uvicorn leaves the signals to us, and a stop is an exit with code 0.
        thread = threading.Thread(target=server.run, name="web")
        thread.start()
        with watching_worker(settings, store):
            wait_for_stop(unless=lambda: not thread.is_alive())
        server.should_exit = True
        thread.join()
        app.state.site.close()
    return 0 if server.started else 1
