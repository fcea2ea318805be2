"""A response must not be lost to pynetdicom's own reactor thread, which asks after the same queue."""

import threading
import time

import pytest
from builders import build_sc, phantom
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context

from dicom_node.association import request_association
from dicom_node.settings import Destination

OBJECTS = 5


class SlowToStop(threading.Event):
    """What a reactor waits for: it counts as paused a while after it has been let through."""

    def wait(self, timeout=None):
        result = super().wait(timeout)
        time.sleep(0.1)
        return result


def widen(assoc):
    """Make the race sure that a busy machine makes likely: the reactor asks late, and the sender later still."""
    checkpoint = SlowToStop()
    checkpoint.set()
    assoc._reactor_checkpoint = checkpoint  # noqa: SLF001  # the race is in there
    ask = assoc.dimse.get_msg

    def ask_late(block=False):
        if block:
            time.sleep(0.4)
        return ask(block)

    assoc.dimse.get_msg = ask_late


@pytest.fixture
def port():
    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context(SecondaryCaptureImageStorage)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: 0x0000)])
    yield server.server_address[1]
    server.shutdown()


def count_answers(assoc):
    """Send objects until one is not answered; return how many were."""
    widen(assoc)
    for number in range(OBJECTS):
        ds = build_sc(phantom(8, 8), InstanceNumber=number)
        if "Status" not in assoc.send_c_store(ds):
            return number
    return OBJECTS


@pytest.mark.fault(62)
def test_no_response_is_lost_to_the_reactor(port):
    """Every C-STORE response reaches the sender, however the threads of the association are scheduled."""
    destination = Destination(name="a", ae_title="ARCHIVE", host="127.0.0.1", port=port)
    contexts = [build_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)]
    with request_association(destination, "NODE", contexts) as assoc:
        assert count_answers(assoc) == OBJECTS


@pytest.mark.fault(62)
def test_stock_pynetdicom_loses_one(port):
    """The negative control: the same sends over an association as pynetdicom makes it."""
    ae = AE(ae_title="NODE")
    ae.dimse_timeout = 2
    ae.add_requested_context(SecondaryCaptureImageStorage, ExplicitVRLittleEndian)
    assoc = ae.associate("127.0.0.1", port, ae_title="ARCHIVE")
    assert assoc.is_established
    try:
        assert count_answers(assoc) < OBJECTS
    finally:
        assoc.abort()
