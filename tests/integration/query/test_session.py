import contextlib
import threading
import time

import pytest
from archive_bench import ScriptedArchive, build_images, build_settings
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider

from dicom_node.demo.archives import find_free_port
from dicom_node.errors import QueryError
from dicom_node.query.session import open_session
from dicom_node.upper_layer.requestor import Responses


@pytest.fixture
def ask(tmp_path):
    """Ask an archive of twenty images how many it has, several times over one association."""
    archive = ScriptedArchive(build_images(20))
    study = archive.images[0].StudyInstanceUID

    def ask_it(*, times, timeout_s):
        settings = build_settings(tmp_path, archive.port, node_port=find_free_port(), timeout_s=timeout_s)
        with open_session(settings.destinations[0], "FRACTUREAI") as session:
            return [len(session.find("IMAGE", StudyInstanceUID=study, SOPInstanceUID="")) for _ in range(times)]

    yield ask_it
    archive.stop()


@pytest.fixture
def widened(monkeypatch):
    """Widen the window in which pynetdicom's reactor thread can take a response that another thread waits for."""

    class SlowEvent(threading.Event):
        def wait(self, timeout=None):
            passed = super().wait(timeout)
            time.sleep(0.2)
            return passed

    build, send = Association.__init__, DIMSEServiceProvider.send_msg

    def build_slow(self, ae, mode):
        build(self, ae, mode)
        if self.is_requestor:
            self._reactor_checkpoint = SlowEvent()
            self._reactor_checkpoint.set()

    def send_and_wait(self, primitive, context_id):
        send(self, primitive, context_id)
        if self.assoc.is_requestor:
            time.sleep(0.4)  # the answer is there before it is waited for

    monkeypatch.setattr(Association, "__init__", build_slow)
    monkeypatch.setattr(DIMSEServiceProvider, "send_msg", send_and_wait)


@pytest.mark.usefixtures("widened")
def test_no_match_is_lost_to_the_reactor_thread(ask):
    assert ask(times=5, timeout_s=20.0) == [20] * 5


@pytest.mark.usefixtures("widened")
def test_pynetdicom_as_it_comes_loses_matches_without_a_word(ask, monkeypatch):
    monkeypatch.setattr(Responses, "get_msg", DIMSEServiceProvider.get_msg)
    with contextlib.suppress(QueryError):  # where it is the last response that is lost
        assert min(ask(times=8, timeout_s=3.0)) < 20
