"""Study Root Query/Retrieve SCU (PS3.4 annex C): questions and fetches over one association."""

from collections.abc import Iterator
from contextlib import contextmanager

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made at run time
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)

from dicom_node.association import request_association
from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.c_find import STUDY_ROOT_FIND, EndlessAnswerError, build_identifier, find, within_patience
from dicom_node.errors import QueryError
from dicom_node.identity import derive_uid
from dicom_node.settings import Archive, NodeSettings
from dicom_node.upper_layer.requestor import RequestedAssociation
from inference.phrases import Phrase

_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
REFUSALS = {
    0xA701: Phrase("out of resources to count the matches"),
    0xA702: Phrase("out of resources to send"),
    0xA801: Phrase("it does not know this node's AE title as a destination"),
    0xB000: Phrase("some images could not be sent"),
    0xFE00: Phrase("cancelled"),
}
"""What the failures of C-FIND and C-MOVE mean (PS3.4 Tables C.4-1 and C.4-2)."""


@contextmanager
def open_session(archive: Archive, ae_title: str) -> Iterator["QuerySession"]:
    """Associate with an archive to ask it questions, in the name of `ae_title`.

    Raises
    ------
    AssociationError
        No association could be had: refused, rejected, aborted or timed out.
    """
    with request_association(archive, ae_title, propose_questions()) as assoc:
        yield QuerySession(assoc, archive, ae_title)


def propose_questions() -> list[PresentationContext]:
    """Build what is proposed to an archive that is asked and fetched from."""
    # Verification too: an archive that offers none of the others would otherwise look like one that is away.
    classes = (STUDY_ROOT_FIND, StudyRootQueryRetrieveInformationModelMove, Verification)
    return [build_context(sop_class, list(_SYNTAXES)) for sop_class in classes]


def note_query(node: NodeSettings, archive: Archive, **keys: str) -> None:
    """Write a line of the audit trail: what an archive is asked, by the keys that it is to match."""
    AuditTrail(node.audit_dir, node.ae_title).note(
        AuditEvent.QUERY_SENT,
        peer_ae_title=archive.ae_title,
        host=archive.host,
        sop_class_uid=STUDY_ROOT_FIND,
        keys=keys,
    )


class QuerySession:
    """An open association with an archive. Every method raises QueryError where there is no complete answer."""

    def __init__(self, assoc: RequestedAssociation, archive: Archive, ae_title: str) -> None:
        self._assoc = assoc
        self._archive = archive
        self._ae_title = ae_title

    def find(self, level: str, **keys: str) -> list[Dataset]:
        """C-FIND: return every match; empty `keys` are asked for, the others are matched (PS3.4 C.2.2.2)."""
        self._require(STUDY_ROOT_FIND, "C-FIND")
        try:
            answer = find(self._assoc, STUDY_ROOT_FIND, level, keys)
        except EndlessAnswerError as error:
            raise self._error(Phrase("C-FIND {trouble}", trouble=error.args[0])) from error
        self._check(answer.status, "C-FIND")
        if answer.unreadable:  # it may be the image that is missing
            raise self._error(Phrase("C-FIND was answered with a match that cannot be read"))
        return answer.matches

    def move_series(self, study_instance_uid: str, series_instance_uid: str) -> None:
        """C-MOVE: let the archive send one series to this node's own Storage SCP; return when it says it has."""
        self._require(StudyRootQueryRetrieveInformationModelMove, "C-MOVE")
        keys = {"StudyInstanceUID": study_instance_uid, "SeriesInstanceUID": series_instance_uid}
        identifier = build_identifier("SERIES", keys)
        final: int | None = None
        try:
            answers = self._assoc.send_c_move(identifier, self._ae_title, StudyRootQueryRetrieveInformationModelMove)
            for status, _ in within_patience(self._assoc, answers):
                final = status.get("Status")
        except EndlessAnswerError as error:
            raise self._error(Phrase("C-MOVE {trouble}", trouble=error.args[0])) from error
        except RuntimeError:  # pynetdicom's way to say that the association is gone
            final = None
        self._check(final, "C-MOVE")

    def verify(self, *, moves: bool) -> None:
        """Ask a question without matches; with `moves`, check that C-MOVE is offered too."""
        if moves:
            self._require(StudyRootQueryRetrieveInformationModelMove, "C-MOVE")
        self.find("SERIES", StudyInstanceUID=derive_uid("no such study"), SeriesInstanceUID="")

    def _require(self, sop_class: str, what: str) -> None:
        if sop_class not in {context.abstract_syntax for context in self._assoc.accepted_contexts}:
            raise self._error(Phrase("it does not offer {service} (Study Root) to this node", service=what))

    def _check(self, status: int | None, what: str) -> None:
        if status is None:
            trouble = self._assoc.dul.trouble
            broke = Phrase("the archive {trouble}", trouble=trouble) if trouble else Phrase("the association broke")
            raise self._error(Phrase("{service} was not answered in time, or {broke}", service=what, broke=broke))
        if status != 0x0000:
            said = Phrase("{service} was answered with status {status}", service=what, status=f"0x{status:04X}")
            raise self._error(Phrase("{name}: {why}", name=said, why=REFUSALS[status]) if status in REFUSALS else said)

    def _error(self, reason: str) -> QueryError:
        return QueryError(Phrase("{name}: {why}", name=self._archive.name, why=reason))

    @property
    def is_open(self) -> bool:
        """Tell whether more can be asked."""
        return self._assoc.is_established
