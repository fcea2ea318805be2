import os
import socket
import time

import pytest
from web_bench import Web

from dicom_node.operate.health import is_listened_on
from dicom_node.settings import CompletionSettings, Destination, NodeSettings, Sender, Settings


@pytest.fixture
def settings(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        yield Settings(
            node=NodeSettings(ae_title="FRACTUREAI", port=receiver.getsockname()[1], data_dir=tmp_path),
            senders=(Sender(ae_title="ORTHANC"),),
            destinations=(Destination(name="archive", ae_title="ORTHANC", host="127.0.0.1", port=4242),),
        )


def ask(settings):
    with Web(settings) as web:
        answer = web.client.get("/readyz")
    return answer.status_code, answer.json()


def sweep(settings, seconds_ago):
    settings.node.heartbeat.touch()
    at = time.time() - seconds_ago
    os.utime(settings.node.heartbeat, (at, at))


def test_a_node_whose_worker_swept_just_now_is_ready(settings):
    sweep(settings, seconds_ago=5)
    assert ask(settings) == (200, {"receiver": True, "worker": True, "disk": True})


def test_a_node_whose_worker_has_never_swept_is_not_ready(settings):
    assert ask(settings) == (503, {"receiver": True, "worker": False, "disk": True})


def test_a_node_whose_worker_has_stopped_sweeping_is_not_ready(settings):
    sweep(settings, seconds_ago=15)
    assert ask(settings) == (503, {"receiver": True, "worker": False, "disk": True})


def test_a_worker_that_sweeps_seldom_has_five_times_as_long(settings):
    slow = settings.model_copy(update={"completion": CompletionSettings(sweep_s=4)})
    sweep(slow, seconds_ago=15)
    assert ask(slow) == (200, {"receiver": True, "worker": True, "disk": True})


def test_a_node_that_does_not_listen_is_not_ready(settings):
    sweep(settings, seconds_ago=0)
    with socket.socket() as unused:  # bound, but nobody listens
        unused.bind(("127.0.0.1", 0))
        node = settings.node.model_copy(update={"port": unused.getsockname()[1]})
        assert ask(settings.model_copy(update={"node": node})) == (
            503,
            {"receiver": False, "worker": True, "disk": True},
        )


def test_to_be_asked_whether_it_is_ready_is_no_connection_of_a_stranger(settings):
    """Asked every few seconds, it would fill log and audit trail where all senders are on other machines."""
    sweep(settings, seconds_ago=0)
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        node = settings.node.model_copy(update={"port": receiver.getsockname()[1]})
        assert ask(settings.model_copy(update={"node": node}))[0] == 200
        receiver.settimeout(0.2)
        with pytest.raises(TimeoutError):
            receiver.accept()


@pytest.mark.parametrize(
    ("listening", "asked", "says"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "localhost", True),
        ("0.0.0.0", "0.0.0.0", True),  # noqa: S104  # for a moment, without an answer to anybody
        ("::1", "::1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "no.such.host.invalid", False),
    ],
)
def test_a_receiver_is_known_by_address_and_port(listening, asked, says):
    family = socket.AF_INET6 if ":" in listening else socket.AF_INET
    with socket.create_server((listening, 0), family=family) as receiver:
        port = receiver.getsockname()[1]
        assert is_listened_on(asked, port) is says
    assert not is_listened_on(asked, port)
