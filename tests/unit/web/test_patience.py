"""Requests that begin and do not end, over real sockets."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from running import wait_for
from web_bench import Web, build_settings

from dicom_node.web import patience
from dicom_node.web.patience import PatientProtocol

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def port(tmp_path, monkeypatch):
    monkeypatch.setattr(patience, "HEADER_S", 0.5)
    monkeypatch.setattr(patience, "BODY_S", 0.5)
    with Web(build_settings(tmp_path)) as web, socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(web.app, http=PatientProtocol, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_for("the server listens", lambda: server.started)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        yield connection


def drip(connection):
    """Say a little more now and then; return what is answered until the other side hangs up."""
    connection.settimeout(0.1)
    answer = b""
    for _ in range(100):
        try:
            connection.sendall(b"x")
            piece = connection.recv(65_536)
        except TimeoutError:
            continue
        except OSError:
            return answer
        if not piece:
            return answer
        answer += piece
    raise AssertionError("it is waited for for ever")


@pytest.mark.parametrize("before", [b"", REQUEST])
def test_a_header_that_does_not_end_is_hung_up_on(port, before):
    with connected(port) as connection:
        if before:
            connection.sendall(before)
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET / HTTP/1.1\r\nX-Slow: ")
        drip(connection)


def test_a_body_that_does_not_end_is_answered_and_hung_up_on(port):
    with connected(port) as connection:
        form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 5000\r\n\r\nname="
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\n" + form)
        assert drip(connection).startswith(b"HTTP/1.1 408")


def test_a_request_that_comes_slowly_and_whole_is_answered(port):
    with connected(port) as connection:
        for piece in (REQUEST[:10], REQUEST[10:]):
            connection.sendall(piece)
            time.sleep(0.1)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
