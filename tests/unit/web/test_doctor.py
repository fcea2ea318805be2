"""The doctor on a page: the checks of the command, while the other pages answer."""

import socket
import threading

import psutil
import pytest
from web_bench import Web, build_settings, form_token

from dicom_node.settings import Destination
from dicom_node.web.roles import Role
from inference.testing import build_tiny_bundles


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG")


def settings_for(folder, bundles, *ports):
    patience = {"connection_timeout_s": 5, "response_timeout_s": 60}
    destinations = tuple(
        Destination(name=f"archive{number}", ae_title="ARCHIVE", host="127.0.0.1", port=port, **patience)
        for number, port in enumerate(ports)
    )
    return build_settings(folder, bundles=bundles).model_copy(update={"destinations": destinations})


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def examine(browser):
    return browser.post("/doctor", data={"form_token": form_token(browser)})


def test_every_check_is_told_with_what_to_do(tmp_path, bundles, builtin_archive):
    settings = settings_for(tmp_path / "node", bundles, builtin_archive.port, dead := free_port())
    with Web(settings) as web:
        browser = web.sign_in(Role.OPERATOR)
        assert "Examine now" in browser.get("/doctor").text
        page = examine(browser).text
    for subject in ("data folder", "model", "DICOM port", "web port", "destination archive0", "alerts"):
        assert f"<strong>{subject}</strong>" in page, subject
    assert f"ARCHIVE at 127.0.0.1:{builtin_archive.port} answers C-ECHO" in page
    assert f"ARCHIVE at 127.0.0.1:{dead}" in page
    assert "What to do: start it; let it know the modality FRACTUREAI" in page
    assert "All checks have ended." in page
    wrong = page.count('<strong class="state failed">wrong</strong>')
    assert wrong >= 1
    assert ("1 thing is" in page) if wrong == 1 else (f"{wrong} things are" in page)


def test_altered_models_are_a_finding_and_the_other_checks_go_on(tmp_path):
    bundles = build_tiny_bundles(tmp_path / "bundles", region="LEG")
    next(bundles.rglob("*.onnx")).write_bytes(b"altered")
    with Web(settings_for(tmp_path / "node", bundles, free_port())) as web:
        page = examine(web.sign_in(Role.OPERATOR)).text
    assert "What to do: restore models/bundles from the release" in page
    assert "<strong>destination archive0</strong>" in page


def test_pages_answer_while_an_archive_does_not_and_a_second_examination_is_refused(tmp_path, bundles):
    """The archive takes the connection and says nothing; one event loop serves both browsers."""
    asked, said = threading.Event(), {}
    silent = socket.create_server(("127.0.0.1", 0))
    connections = []

    def take():
        connections.append(silent.accept()[0])
        asked.set()

    threading.Thread(target=take, daemon=True).start()
    with (
        Web(settings_for(tmp_path / "node", bundles, silent.getsockname()[1])) as web,
        web.sign_in(Role.OPERATOR) as browser,
    ):
        thread = threading.Thread(target=lambda: said.update(page=examine(browser).text))
        thread.start()
        assert asked.wait(120)
        assert browser.get("/").status_code == 200
        second = examine(browser).text
        assert thread.is_alive()
        silent.close()
        connections[0].close()
        thread.join(120)
        is_held = web.app.state.site.examination._lock.locked()  # noqa: SLF001  # as the next one would find it
    assert "another examination is under way" in second
    assert "<strong>data folder</strong>" not in second
    assert "<strong>destination archive0</strong>" in said["page"]
    assert "All checks have ended." in said["page"]
    assert not is_held


def test_a_form_of_another_session_examines_nothing(tmp_path, bundles):
    with Web(settings_for(tmp_path, bundles, free_port())) as web:
        assert web.sign_in(Role.OPERATOR).post("/doctor", data={"form_token": "0" * 64}).status_code == 403


def test_the_process_that_examines_is_gone_afterwards(tmp_path, bundles):
    with Web(settings_for(tmp_path, bundles, free_port())) as web:
        before = children()
        examine(web.sign_in(Role.OPERATOR))
        assert children() <= before


def children():
    return {child.pid for child in psutil.Process().children() if "dicom_node.analyse.caged" in child.cmdline()}
