"""A report that is still being answered must not hold up what the association does next."""

import threading
import time

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from running import wait_for

from dicom_node.association import request_association
from dicom_node.settings import Destination
from dicom_node.storage_commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE, REQUEST_ACTION_TYPE

WAIT_S = 3


class StopThenGoOn(threading.Event):
    """The checkpoint of a reactor: who stops the reactor goes on only when `meanwhile` is done."""

    def __init__(self, meanwhile):
        super().__init__()
        self.set()
        self._meanwhile = meanwhile

    def clear(self):
        super().clear()
        time.sleep(0.2)
        self._meanwhile()


def name_transaction():
    ds = Dataset()
    ds.TransactionUID = "1.2.3"
    return ds


def ask(assoc):
    """Ask for storage commitment, and return once the report on it is being answered, with what ends the answer."""
    reached, leave, threads = threading.Event(), threading.Event(), []

    def take(_event):
        threads.append(threading.current_thread())
        reached.set()
        leave.wait(WAIT_S)
        return 0x0000, None

    def end():
        leave.set()
        threads[0].join(WAIT_S)

    assoc.bind(evt.EVT_N_EVENT_REPORT, take)
    status, _ = assoc.send_n_action(name_transaction(), REQUEST_ACTION_TYPE, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    assert status.Status == 0x0000
    assert reached.wait(WAIT_S)
    return end


def does_release(assoc):
    """Tell whether the release ends, though the answer to a report ends just when the reactor has stopped."""
    assoc._reactor_checkpoint = StopThenGoOn(ask(assoc))  # noqa: SLF001  # the race is in there
    releasing = threading.Thread(target=assoc.release, daemon=True)
    releasing.start()
    releasing.join(WAIT_S)
    return not releasing.is_alive()


@pytest.fixture
def port():
    reporting = []

    def answer(event):
        def report():
            event.assoc.send_n_event_report(name_transaction(), 1, PUSH_MODEL, PUSH_MODEL_INSTANCE)

        reporting.append(threading.Timer(0.2, report))
        reporting[-1].start()
        return 0x0000, None

    ae = AE(ae_title="ARCHIVE")
    ae.add_supported_context(PUSH_MODEL)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_ACTION, answer)])
    yield server.server_address[1]
    for one in reporting:
        one.join(WAIT_S)
    server.shutdown()


@pytest.mark.fault(62)
def test_a_report_that_is_answered_late_does_not_hold_the_release_up(port):
    """A report whose answer ends just when the reactor has stopped: the association is released, and nobody waits."""
    destination = Destination(name="a", ae_title="ARCHIVE", host="127.0.0.1", port=port)
    with request_association(destination, "NODE", [build_context(PUSH_MODEL)]) as assoc:
        assert does_release(assoc)


@pytest.mark.fault(62)
def test_it_holds_up_that_of_stock_pynetdicom_for_ever(port):
    """The negative control: the same over an association as pynetdicom makes it."""
    ae = AE(ae_title="NODE")
    ae.add_requested_context(PUSH_MODEL)
    assoc = ae.associate("127.0.0.1", port, ae_title="ARCHIVE")
    assert assoc.is_established
    assert not does_release(assoc)
    assoc._is_paused = True  # noqa: SLF001  # lets it go
    wait_for("the end of the association", lambda: not assoc.is_alive())
