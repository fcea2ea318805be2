"""One try to send a destination what it lacks of a revision, with every answer recorded."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from pydicom import dcmread

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.deliver.rejection import fit_note
from dicom_node.deliver.storage_scu import Delivery, ResultFile, send_results
from dicom_node.errors import AssociationError, RejectedError, describe_unforeseen
from dicom_node.header import tolerate
from dicom_node.settings import Destination, NodeSettings
from dicom_node.store import NOTHING_TO_REJECT, DeliveryState, DueDelivery, Store, StoredResult
from dicom_node.values import ResultKind
from inference.phrases import Phrase

_LOGGER = logging.getLogger(__name__)

FURTHER_FORMS = frozenset(
    {
        ResultKind.ENCAPSULATED_PDF,
        ResultKind.STRUCTURED_REPORT,
        ResultKind.PRESENTATION_STATE,
        ResultKind.KEY_OBJECTS,
    }
)
"""Without these a destination has the answer all the same, as captures."""
FILE_MISSING = Phrase("could not be sent: its file is missing in the results folder")


def send_pending(destination: Destination, node: NodeSettings, store: Store, due: DueDelivery) -> None:
    """Send what is pending, and record what came of each object."""
    key = (due.study_instance_uid, due.digest, due.destination)
    rows = store.pending_results(*key, is_believed=destination.is_believed)
    prepared = {row.sop_instance_uid: _prepare(row, node, store, due) for row in rows}
    pending = [file for file in prepared.values() if file is not None]
    if not pending:
        return
    made_of = {file.sop_instance_uid: uid for uid, file in prepared.items() if file is not None}
    noted = _Noted(destination, node, due.study_instance_uid, pending)
    there = [file for file in pending if file.path.is_file()]
    deliveries = _try_to_send(destination, node.ae_title, there, noted.begin) if there else []
    # Those that are there must not wait for it.
    deliveries += [
        Delivery(sop_instance_uid=file.sop_instance_uid, state=DeliveryState.PENDING, detail=FILE_MISSING)
        for file in pending
        if file not in there
    ]
    for delivery in deliveries:
        uid = made_of[delivery.sop_instance_uid]
        store.record_delivery(destination.name, uid, delivery.state, delivery.detail)
        _LOGGER.info("%s: %s %s %s", destination.name, delivery.sop_instance_uid, delivery.state, delivery.detail)
    noted.end(deliveries)


def _prepare(row: StoredResult, node: NodeSettings, store: Store, due: DueDelivery) -> ResultFile | None:
    """Say what is sent of a result; None, and recorded, where nothing is."""
    file = ResultFile(
        sop_instance_uid=row.sop_instance_uid,
        sop_class_uid=row.sop_class_uid,
        path=node.results_dir / row.path,
        may_be_left_out=row.kind in FURTHER_FORMS,
        is_rejection_note=row.kind == ResultKind.REJECTION_NOTE,
    )
    if not file.is_rejection_note or not file.path.is_file():
        return file
    try:
        with tolerate():
            note = dcmread(file.path)
            if fit_note(note, store.taken_results(due.study_instance_uid, due.destination)):
                return replace(file, sop_instance_uid=str(note.SOPInstanceUID), ds=note)
        state, detail = DeliveryState.LEFT_OUT, NOTHING_TO_REJECT
    except Exception as error:  # noqa: BLE001  # the edge of a step: whatever it was, it is tried again and seen
        state, detail = DeliveryState.PENDING, _describe_fault(due.destination, error)
    store.record_delivery(due.destination, row.sop_instance_uid, state, detail)
    return None


def send_now(
    destination: Destination, node: NodeSettings, study_instance_uid: str, files: Sequence[ResultFile]
) -> list[Delivery]:
    """Send once what is no part of the line, and return what came of each object; the audit trail has it."""
    noted = _Noted(destination, node, study_instance_uid, files)
    deliveries = _try_to_send(destination, node.ae_title, files, noted.begin)
    noted.end(deliveries)
    return deliveries


class _Noted:
    """The lines of the audit trail about one try.

    There are none where no association was to be had: nothing was transferred, and an archive that is away for days
    would fill the trail with it.
    """

    def __init__(
        self, destination: Destination, node: NodeSettings, study_instance_uid: str, files: Sequence[ResultFile]
    ) -> None:
        self._trail = AuditTrail(node.audit_dir, node.ae_title)
        self._facts = {
            "direction": "out",
            "destination": destination.name,
            "peer_ae_title": destination.ae_title,
            "host": destination.host,
            "study_instance_uid": study_instance_uid,
        }
        self._classes = {file.sop_instance_uid: file.sop_class_uid for file in files}
        self._has_begun = False

    def begin(self) -> None:
        """Write what is to be sent."""
        self._has_begun = True
        self._trail.note(AuditEvent.TRANSFER_BEGUN, **self._facts, sop_classes=dict(Counter(self._classes.values())))

    def end(self, deliveries: Sequence[Delivery]) -> None:
        """Write what was taken and what was not as lines of their own (PS3.15 A.5.2: no mixed results)."""
        for success in (True, False):
            those = [one for one in deliveries if (one.state is DeliveryState.SENT) is success]
            if those and self._has_begun:
                self._trail.note(
                    AuditEvent.INSTANCES_TRANSFERRED,
                    **self._facts,
                    sop_classes=dict(Counter(self._classes[one.sop_instance_uid] for one in those)),
                    success=success,
                    results=[asdict(one) for one in those],
                )


def _try_to_send(
    destination: Destination, ae_title: str, files: Sequence[ResultFile], begin: Callable[[], None]
) -> list[Delivery]:
    state = DeliveryState.PENDING
    try:
        return send_results(destination, ae_title, files, begin=begin)
    except RejectedError as error:
        state, detail = DeliveryState.PARKED, str(error)
    except AssociationError as error:
        detail = str(error)
    except Exception as error:  # noqa: BLE001  # the edge of a step: whatever it was, it is tried again and seen
        detail = _describe_fault(destination.name, error)
    return [Delivery(sop_instance_uid=file.sop_instance_uid, state=state, detail=detail) for file in files]


def _describe_fault(destination: str, error: Exception) -> Phrase:
    _LOGGER.error("%s: %s", destination, describe_unforeseen(error))  # no texts of exceptions in logs
    return Phrase("could not be sent ({kind}); see the log", kind=type(error).__name__)
