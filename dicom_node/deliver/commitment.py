"""Storage commitment SCU: ask an archive to vouch for what it was sent (PS3.4 annex J)."""

import time
from collections.abc import Callable, Sequence

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.association import Association

from dicom_node.header import tolerate
from dicom_node.storage_commitment import (
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST_ACTION_TYPE,
    CommitmentReport,
    build_request,
    read_report,
)
from dicom_node.store import UnprovenResult
from inference.phrases import Phrase

_POLLING_S = 0.05
_PROCESSING_FAILURE = 0x0110


def request_commitment(
    assoc: Association,
    transaction_uid: str,
    sent: Sequence[UnprovenResult],
    take_report: Callable[[CommitmentReport], bool],
) -> str:
    """Send the N-ACTION of a transaction; return why it was not taken, empty where it was.

    The report may come on this association: `take_report` is given it, and returns False where it is of no transaction.
    """

    def answer(event: evt.Event) -> tuple[int, Dataset | None]:
        with tolerate():
            known = take_report(read_report(event.event_information))
        return (0x0000 if known else _PROCESSING_FAILURE), None

    assoc.bind(evt.EVT_N_EVENT_REPORT, answer)
    request = build_request(transaction_uid, [(one.sop_class_uid, one.sop_instance_uid) for one in sent])
    try:
        status, _ = assoc.send_n_action(request, REQUEST_ACTION_TYPE, PUSH_MODEL, PUSH_MODEL_INSTANCE)
    except RuntimeError:  # pynetdicom's way to say that the association is gone
        status = Dataset()
    code = status.get("Status")
    if code is None:
        return Phrase("no answer to the request for storage commitment")
    said = Phrase("storage commitment: N-ACTION status {status}", status=f"0x{code:04X}")
    return "" if code == 0x0000 else said


def wait_for_report(assoc: Association, is_open: Callable[[], bool], wait_s: float) -> None:
    """Keep the association while the report may come on it, for `wait_s` at most; it may also come another way."""
    end = time.monotonic() + wait_s
    while time.monotonic() < end and assoc.is_established and is_open():
        time.sleep(_POLLING_S)
