"""The server that puts OHIF and Orthanc's DICOMweb on one origin."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from starlette.testclient import TestClient

from dicom_node.demo.viewer import NoViewerError, address_of, build_viewer, fetch_viewer


class Orthanc(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self):
        said = f"{self.command} {self.path} {self.headers['Host']} {self.headers['Accept']}".encode()
        if length := int(self.headers.get("Content-Length", 0)):
            said += b" " + self.rfile.read(length)
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Type", "application/dicom+json")
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_):
        pass


@pytest.fixture
def orthanc():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Orthanc)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(tmp_path, orthanc):
    files = tmp_path / "files"
    files.mkdir()
    (files / "index.html").write_text("<title>OHIF</title>")
    (files / "app.js").write_text("start()")
    (tmp_path / "secret.txt").write_text("not to be handed out")
    with TestClient(build_viewer(files, orthanc), base_url="http://viewer.test") as client:
        yield client


def test_questions_reach_the_archive_as_it_understands_them(client):
    answer = client.get("/dicom-web/studies?PatientName=%2A&includefield=a%2Cb", headers={"Accept": "a/b"})
    assert answer.text == "GET /dicom-web/studies?PatientName=*&includefield=a,b viewer.test a/b"
    assert answer.headers["content-type"] == "application/dicom+json"
    assert client.post("/dicom-web/studies/1/bulk", content=b"body").text.endswith(" body")


def test_a_no_of_the_archive_stays_a_no(client):
    assert client.get("/dicom-web/studies/missing").status_code == 404


def test_its_pages_are_one_file_and_its_files_are_handed_out(client):
    for page in ("/", "/viewer?StudyInstanceUIDs=1.2.3", "/nowhere/at/all"):
        assert client.get(page).text == "<title>OHIF</title>"
    assert client.get("/app.js").text == "start()"


@pytest.mark.parametrize("path", ["/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt"])
def test_nothing_beside_its_files_is_handed_out(client, path):
    assert "not to be handed out" not in client.get(path).text


def test_the_address_names_the_study():
    assert address_of("http://127.0.0.1:1", "1.2.3") == "http://127.0.0.1:1/viewer?StudyInstanceUIDs=1.2.3"


def test_without_npm_there_is_no_viewer_and_nothing_half_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoViewerError, match="npm"):
        fetch_viewer()
    assert list((tmp_path / "dicom-node").iterdir()) == []
