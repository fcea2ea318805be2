"""An archive is known by a name, and the name servers are dead: a sending thread waits its time-out, no longer."""

import socket
import threading
import time

import pytest
from certificates import Authority
from pynetdicom.transport import AddressInformation
from running import wait_for

from dicom_node import association
from dicom_node.receive.commitment import Reporters
from dicom_node.settings import Destination, TLSFiles
from dicom_node.store import RevisionState

pytestmark = pytest.mark.fault(62)

NAME, WITHIN_S = "pacs.example", 0.5


@pytest.fixture
def resolver(monkeypatch):
    """The system's resolver, which answers for one name only when the event that is returned is set."""
    alive, real = threading.Event(), socket.getaddrinfo

    def resolve(host, *arguments, **options):
        if host != NAME:
            return real(host, *arguments, **options)
        alive.wait(60)
        return real("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield alive
    alive.set()
    wait_for("its threads end", lambda: not lookups())


def lookups():
    return [thread for thread in threading.enumerate() if thread.name == f"name {NAME}"]


def name_it(one):
    named = {"host": NAME, "connection_timeout_s": WITHIN_S}
    one.destination = one.destination.model_copy(update=named)
    return one


def test_a_name_that_is_not_resolved_in_time_is_tried_again_like_an_archive_that_is_away(archive, bench, resolver):
    """However often it is tried, one thread waits for the resolver; once that answers, all is delivered."""
    one = name_it(bench(archive().port))
    for _ in range(3):
        begun = time.monotonic()
        now = one.attempt()
        assert time.monotonic() - begun < WITHIN_S + 2
        assert (now.pending, now.parked) == (2, 0)
        assert now.detail == f"archive: {NAME} cannot be reached: its name is not resolved in time"
    assert len(lookups()) == 1
    resolver.set()
    one.destination = one.destination.model_copy(update={"connection_timeout_s": 10.0})
    assert one.attempt().verified == 2


def test_without_a_time_out_the_thread_would_wait_as_long_as_the_resolver(archive, bench, resolver, monkeypatch):
    """The negative control: the name is resolved as pynetdicom does it, where the association is built."""
    monkeypatch.setattr(association, "look_up", lambda host, _: AddressInformation.from_addr_port(host, 0).address)
    one = name_it(bench(archive().port))
    sending = threading.Thread(target=one.send)
    sending.start()
    sending.join(4 * WITHIN_S)
    assert sending.is_alive()
    resolver.set()
    sending.join(60)
    assert not sending.is_alive()


def test_a_name_that_nobody_knows_is_tried_again(archive, bench, monkeypatch):
    def deny(*_arguments, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    one = name_it(bench(archive().port))
    monkeypatch.setattr(socket, "getaddrinfo", deny)
    now = one.attempt()
    assert now.pending == 2
    assert now.detail == f"archive: {NAME} cannot be reached: Name or service not known"
    assert one.state is RevisionState.DELIVERING


NO_NAMES = ["pacs..example", f"{'x' * 64}.example", ".pacs.example"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_an_archive_whose_host_is_no_name_is_away(archive, bench, name):
    """A name with an empty label, or one that is too long: nothing else than an archive that is away."""
    one = bench(archive().port)
    one.destination = one.destination.model_copy(update={"host": name})
    now = one.attempt()
    assert (now.pending, now.parked) == (2, 0)
    assert now.detail.startswith(f"archive: {name} cannot be reached: ")
    assert "idna" in now.detail


@pytest.mark.parametrize("name", NO_NAMES)
def test_an_archive_that_is_to_show_what_is_no_name_is_away(bench, tmp_path, name):
    """The same in `tls_name`: the try comes back, and the place of the queue with it."""
    authority = Authority(tmp_path / "tls")
    files = TLSFiles.model_validate(authority.settings(authority.issue("node")).model_dump(exclude={"incoming"}))
    outcomes = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = bench(listener.getsockname()[1], tls=files, tls_name=name)
        trying = threading.Thread(target=lambda: outcomes.append(one.attempt()), daemon=True)
        trying.start()
        trying.join(10)
    (now,) = outcomes
    assert (now.pending, now.parked) == (2, 0)
    assert "cannot be reached: " in now.detail
    assert "idna" in now.detail


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_host_that_is_no_name_keeps_no_other_archive_from_reporting(name):
    """The receiver goes on looking up the names of the others: their reports are taken, and no stranger may connect."""
    named = {"WRONG": name, "RIGHT": "localhost"}
    reporters = Reporters([Destination(name=title, ae_title=title, host=named[title], port=104) for title in named])
    reporters.follow_names()
    try:
        wait_for("the other is known", lambda: reporters.may_report("RIGHT", "127.0.0.1"), within_s=5)
        assert not reporters.may_report("WRONG", "127.0.0.1")
        assert not reporters.may_connect("192.0.2.1")
    finally:
        reporters.stop()
