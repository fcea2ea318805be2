"""OHIF beside the demonstration's Orthanc: the studies as a radiologist's own viewer shows them.

OHIF comes prebuilt in an npm package and is kept in the user's cache folder. One server on 127.0.0.1 hands out its
files and passes DICOMweb on to Orthanc, so that for the browser all of it has one origin.
"""

import http.client
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from starlette.concurrency import run_in_threadpool

from dicom_node.demo.archives import find_free_port, find_program

OHIF = "@ohif/app"
OHIF_VERSION = "3.13.2"
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
DICOMWEB_ROOT = "/dicom-web"
_UNNEEDED = ("dist/ort", "dist/dicom-microscopy-viewer")
"""Models for segmentation and a viewer for microscopy: three quarters of the package."""
_DOWNLOAD_S = 600
_PASSED_ON = {"content-type", "accept", "host"}
"""Orthanc writes addresses of bulk data from Host, so that it must be the one the browser used."""

_CONFIGURATION = """window.config = {
  routerBasename: "/", extensions: [], modes: [], showStudyList: true, defaultDataSourceName: "dicomweb",
  investigationalUseDialog: { option: "never" },
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "dicomweb",
    configuration: {
      friendlyName: "Demonstration archive", name: "archive",
      qidoRoot: "/dicom-web", wadoRoot: "/dicom-web", wadoUriRoot: "/dicom-web",
      qidoSupportsIncludeField: false, supportsWildcard: true, supportsFuzzyMatching: false,
      imageRendering: "wadors", thumbnailRendering: "wadors", enableStudyLazyLoad: true,
      dicomUploadEnabled: false, bulkDataURI: { enabled: true, relativeResolution: "studies" },
    },
  }],
};
// What this viewer can do is not what is to be shown: no tour of it over the pictures.
localStorage.setItem("shownTours", '["basicViewerTour"]');
"""


class NoViewerError(Exception):
    """The viewer cannot be had here; says why."""


def name_missing() -> str:
    """Return what the viewer needs and this machine lacks, or nothing."""
    needs = {
        "Orthanc": find_program("Orthanc") is not None,
        "its DICOMweb plugin (orthanc-dicomweb)": DICOMWEB_PLUGIN.exists(),
        "npm": shutil.which("npm") is not None or _cache().exists(),
    }
    return ", ".join(name for name, there in needs.items() if not there)


def configure_dicomweb() -> dict[str, object]:
    """Return what Orthanc's configuration needs so that OHIF can read from it."""
    return {"Plugins": [str(DICOMWEB_PLUGIN)], "DicomWeb": {"Enable": True, "Root": f"{DICOMWEB_ROOT}/"}}


def fetch_viewer() -> Path:
    """Return the folder with OHIF's files, from the cache or from npm.

    Raises
    ------
    NoViewerError
        npm is missing, or could not fetch the package.
    """
    kept = _cache()
    if kept.exists():
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        try:
            packed = subprocess.run(
                ["npm", "pack", "--silent", f"{OHIF}@{OHIF_VERSION}"],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_DOWNLOAD_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise NoViewerError(f"npm could not fetch {OHIF} {OHIF_VERSION}") from error
        with tarfile.open(Path(folder) / packed.stdout.split()[-1]) as archive:
            archive.extractall(folder, filter="data")
        for part in _UNNEEDED:
            shutil.rmtree(Path(folder) / "package" / part, ignore_errors=True)
        (Path(folder) / "package" / "dist").rename(kept)
    return kept


def _cache() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(folder) / "dicom-node" / f"ohif-{OHIF_VERSION}"


def build_viewer(files: Path, orthanc_http_port: int) -> FastAPI:
    """Build the application: OHIF's files, its pages, and DICOMweb passed on to Orthanc."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.api_route(DICOMWEB_ROOT + "/{path:path}", methods=["GET", "POST"])
    async def pass_on(request: Request) -> Response:
        return await run_in_threadpool(_ask, orthanc_http_port, request, await request.body())

    @app.get("/app-config.js")
    async def configure() -> Response:
        return Response(_CONFIGURATION, media_type="text/javascript")

    static = StaticFiles(directory=files, html=True)

    @app.get("/{path:path}")
    async def hand_out(request: Request, path: str) -> Response:
        # OHIF has pages of its own, such as /viewer: all of them are its one file.
        found = path if (files / path).is_file() else "index.html"
        return await static.get_response(found, request.scope)

    return app


def _ask(port: int, request: Request, body: bytes) -> Response:
    # Orthanc's plugin does not decode "*" and "," in a query.
    query = request.url.query.replace("%2A", "*").replace("%2C", ",")
    address = request.url.path + (f"?{query}" if query else "")
    headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(request.method, address, body or None, headers)
        answer = connection.getresponse()
        return Response(answer.read(), answer.status, media_type=answer.getheader("Content-Type"))
    finally:
        connection.close()


@contextmanager
def running_viewer(files: Path, orthanc_http_port: int) -> Iterator[str]:
    """Serve until the block ends; yields the address."""
    port = find_free_port()
    app = build_viewer(files, orthanc_http_port)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, name="viewer")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


def address_of(viewer: str, study_instance_uid: str) -> str:
    """Return the address at which the viewer opens a study."""
    return f"{viewer}/viewer?StudyInstanceUIDs={study_instance_uid}"
