"""Prove that a destination keeps what it was sent: by storage commitment, and by finding it there."""

import logging
import time
import uuid
from collections.abc import Collection, Iterable
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made at run time

from dicom_node.association import request_association
from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.c_find import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from dicom_node.deliver.commitment import request_commitment, wait_for_report
from dicom_node.deliver.verdict import Verdict, judge, may_be_asked
from dicom_node.deliver.verification import FindError, Place, SilenceError, Sought, locate
from dicom_node.errors import FILE_DAMAGED, AssociationError
from dicom_node.header import identifier, tolerate
from dicom_node.settings import Archive, Destination, NodeSettings, Proof
from dicom_node.storage_commitment import PUSH_MODEL
from dicom_node.store import DeliveryState, DueDelivery, Store, UnprovenResult
from inference.phrases import Phrase

_LOGGER = logging.getLogger(__name__)

MOST_SILENCES = 10
"""Searches without any answer; an archive that has accepted the presentation context each time will not answer."""
_SYNTAXES: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


class Prover:
    """One try to prove what a destination was sent of a revision."""

    def __init__(self, destination: Destination, node: NodeSettings, store: Store, due: DueDelivery) -> None:
        self._destination = destination
        self._node = node
        self._store = store
        self._due = due
        self._missing: frozenset[str] = frozenset()
        """SOP classes that were asked for and are not offered."""
        self._troubles: dict[str, str] = {}
        """Why an answer is still to be had, by SOP Instance UID."""

    def prove(self) -> None:
        """Ask for what is not proven yet, and record how far each object is.

        The next try is put off where nothing but reports are waited for.
        """
        now = time.time()
        unproven = self._unproven()
        to_find = [one for one in unproven if self._destination.verify is not Proof.NEVER and one.verified_at is None]
        to_ask = [one for one in unproven if may_be_asked(self._destination, one, now)]
        asked, searched = self._destination.commitment_archive, self._destination.verify_archive
        if asked == searched:
            self._try_to_ask(asked, to_find, to_ask)
        else:
            self._try_to_ask(searched, to_find, [])
            self._try_to_ask(asked, [], to_ask)
        waits_until = [
            verdict.until for verdict in map(self._settle, self._unproven()) if verdict.state is DeliveryState.SENT
        ]
        if waits_until and all(waits_until) and not self._has_to_be_sent():
            self._store.put_off(self._due, min(waits_until))

    def _has_to_be_sent(self) -> bool:
        """Tell whether a result was not taken, or was lost: its next try waits for no report of others."""
        due = self._due
        key = (due.study_instance_uid, due.digest, due.destination)
        return bool(self._store.pending_results(*key, is_believed=self._destination.is_believed))

    def _unproven(self) -> tuple[UnprovenResult, ...]:
        due = self._due
        return self._store.unproven_results(due.study_instance_uid, due.digest, due.destination)

    def _settle(self, sent: UnprovenResult) -> Verdict:
        verdict = judge(self._destination, sent, self._missing, time.time())
        trouble = self._troubles.get(sent.sop_instance_uid, "")
        if verdict.state is DeliveryState.SENT and trouble:
            verdict = Verdict(state=verdict.state, detail=trouble)
        name, uid = self._due.destination, sent.sop_instance_uid
        self._record(uid, verdict.state, verdict.detail)
        _LOGGER.info("%s: %s %s %s", name, uid, verdict.state, verdict.detail)
        return verdict

    def _record(self, sop_instance_uid: str, state: DeliveryState, detail: str) -> None:
        self._store.settle(self._due.destination, sop_instance_uid, state, detail)
        if state is not DeliveryState.SENT:
            self._note(AuditEvent.RESULT_SETTLED, sop_instance_uid=sop_instance_uid, state=state, detail=detail)

    def _note(self, event: AuditEvent, **facts: object) -> None:
        where = {"destination": self._destination.name, "study_instance_uid": self._due.study_instance_uid}
        AuditTrail(self._node.audit_dir, self._node.ae_title).note(event, **where, **facts)

    def _note_trouble(self, sent: Collection[UnprovenResult], reason: str) -> None:
        for one in sent:
            noted = self._troubles.get(one.sop_instance_uid, "")
            if reason not in noted:
                both = Phrase("{first}; {second}", first=noted, second=reason)
                self._troubles[one.sop_instance_uid] = both if noted else reason

    def _try_to_ask(self, archive: Archive, to_find: list[UnprovenResult], to_ask: list[UnprovenResult]) -> None:
        if not (to_find or to_ask):
            return
        try:
            self._ask(archive, to_find, to_ask)
        except AssociationError as error:
            self._note_trouble([*to_find, *to_ask], error.args[0])

    def _ask(self, archive: Archive, to_find: list[UnprovenResult], to_ask: list[UnprovenResult]) -> None:
        classes = ([STUDY_ROOT_FIND, PATIENT_ROOT_FIND] if to_find else []) + ([PUSH_MODEL] if to_ask else [])
        with request_association(archive, self._node.ae_title, propose_proofs(classes)) as assoc:
            accepted = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
            self._missing |= {*classes} - accepted
            if to_find and STUDY_ROOT_FIND in accepted:
                self._look_for(assoc, to_find)
            still = {one.sop_instance_uid for one in self._unproven()}
            to_ask = [one for one in to_ask if one.sop_instance_uid in still]
            # An archive that broke the association over the search has not refused the request.
            if to_ask and PUSH_MODEL in accepted and assoc.is_established:
                self._ask_for_commitment(assoc, to_ask)

    # C-FIND

    def _look_for(self, assoc: Association, sent: Collection[UnprovenResult]) -> None:
        sought = {one.sop_instance_uid: self._try_to_read(one) for one in sent}
        sent = [one for one in sent if sought[one.sop_instance_uid] is not None]
        if not sent:
            return
        self._note(
            AuditEvent.QUERY_SENT,
            peer_ae_title=self._destination.verify_archive.ae_title,
            host=self._destination.verify_archive.host,
            sop_class_uid=STUDY_ROOT_FIND,
            keys={"QueryRetrieveLevel": "IMAGE", "StudyInstanceUID": self._due.study_instance_uid},
        )
        try:
            places = locate(assoc, self._due.study_instance_uid, [*filter(None, sought.values())])
        except FindError as error:
            self._note_trouble(sent, error.args[0])
            for one in [one for one in sent if self._is_in_vain(one, error)]:
                self._record(one.sop_instance_uid, DeliveryState.PARKED, str(error))
            return
        for one in sent:
            self._take_place(one, places[one.sop_instance_uid])

    def _try_to_read(self, sent: UnprovenResult) -> Sought | None:
        """Read what a result is to be found by; None where its file is gone, which keeps no proof from the others."""
        try:
            return read_sought(self._node.results_dir / sent.path, sent)
        except (FileNotFoundError, InvalidDicomError):
            if self._is_overdue(sent):
                self._record(sent.sop_instance_uid, DeliveryState.PARKED, FILE_DAMAGED)
            else:
                self._note_trouble([sent], FILE_DAMAGED)
            return None

    def _take_place(self, sent: UnprovenResult, place: Place) -> None:
        name, uid = self._due.destination, sent.sop_instance_uid
        if place is Place.RIGHT:
            self._store.record_verified(name, uid)
        elif place is Place.WRONG:
            said = Phrase("C-FIND finds it in this study, but not of this patient")
            self._record(uid, DeliveryState.PARKED, said)
        elif self._is_overdue(sent):
            said = Phrase("C-FIND does not find what C-STORE was answered with Success for")
            self._store.record_loss(name, uid, said)
        else:
            self._note_trouble([sent], Phrase("C-FIND does not find it yet"))

    def _is_in_vain(self, sent: UnprovenResult, error: FindError) -> bool:
        if isinstance(error, SilenceError):
            return self._store.count_silence(self._due.destination, sent.sop_instance_uid) >= MOST_SILENCES
        return not error.may_pass and self._is_overdue(sent)

    def _is_overdue(self, sent: UnprovenResult) -> bool:
        return time.time() > sent.sent_at + self._destination.verify_deadline_s

    # Storage commitment

    def _ask_for_commitment(self, assoc: Association, sent: list[UnprovenResult]) -> None:
        name, transaction_uid = self._due.destination, f"2.25.{uuid.uuid4().int}"
        # First the row, then the request: a report must find its transaction.
        self._store.begin_transaction(transaction_uid, self._due, [one.sop_instance_uid for one in sent])
        refusal = request_commitment(
            assoc, transaction_uid, sent, lambda report: self._store.take_report([name], report)
        )
        if refusal:
            self._store.end_transaction(transaction_uid)
            self._note_trouble(sent, refusal)
        else:
            is_open = self._store.is_open_transaction
            wait_for_report(assoc, lambda: is_open(transaction_uid), self._destination.report_wait_s)


def propose_proofs(
    classes: Iterable[UID],
) -> list[PresentationContext]:
    """Build what is proposed to a destination that is asked for proofs."""
    # Verification too: an archive that offers none of the others would look like one that is away.
    return [build_context(Verification), *(build_context(one, _SYNTAXES) for one in classes)]


def find_offered_proofs(destination: Destination, ae_title: str) -> dict[str, bool]:
    """Ask a destination which proofs it offers; by the key of its settings. What is not wanted is not asked for.

    Raises
    ------
    AssociationError
        No association could be had.
    """
    questions = {
        "commitment": (destination.commitment, destination.commitment_archive, PUSH_MODEL),
        "verify": (destination.verify, destination.verify_archive, STUDY_ROOT_FIND),
    }
    return {
        key: wanted is not Proof.NEVER and _is_offered(archive, ae_title, sop_class)
        for key, (wanted, archive, sop_class) in questions.items()
    }


def _is_offered(archive: Archive, ae_title: str, sop_class: UID) -> bool:
    with request_association(archive, ae_title, propose_proofs([sop_class])) as assoc:
        return sop_class in {context.abstract_syntax for context in assoc.accepted_contexts}


def read_sought(path: Path, sent: UnprovenResult) -> Sought:
    """Read from a result what it is to be found by."""
    with tolerate():
        header = dcmread(path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", "PatientID"])
        patient_id = identifier(header, "PatientID")
    return Sought(
        sop_instance_uid=sent.sop_instance_uid, series_instance_uid=sent.series_instance_uid, patient_id=patient_id
    )
