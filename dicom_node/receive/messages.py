"""DIMSE messages as they arrive in fragments (PS3.7 6.3.1, PS3.8 annex E): C-ECHO and C-STORE, and nothing else.

A data set's fragments go to disk as they come; memory use does not depend on the size of objects.
"""

import contextlib
import logging
import queue
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.dsutils import decode
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.receive.reception import Archive, Reception, StoreRequest
from dicom_node.receive.status import StoreStatus
from dicom_node.receive.upper_layer import DataTransfer, UpperLayer

_LOGGER = logging.getLogger("dicom_node.receive")

_COMMAND, _LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""
LARGEST_COMMAND_SET = 64 * 1024
_C_STORE_RQ, _C_ECHO_RQ, _C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
_NO_DATA_SET = 0x0101
_LONGEST_WAIT_S = 0.5


class _ViolationError(Exception):
    """The peer sent what no DICOM peer may send: the association ends with an A-ABORT."""


class Messages(DIMSEServiceProvider):
    """What comes through one association, served in its upper layer's thread."""

    def __init__(self, assoc: Association, archive: Archive) -> None:
        super().__init__(assoc)
        self._archive = archive
        self._command = bytearray()
        self._context_id = 0
        self._message_id = 0
        self._reception: Reception | None = None

    @property
    def is_receiving(self) -> bool:
        """Tell whether a message has begun and is not complete."""
        return bool(self._command) or self._reception is not None

    def get_msg(self, block: bool = False) -> tuple[None, None]:  # noqa: ARG002 - pynetdicom's signature
        """Wait a while for news of the association; messages themselves do not come this way.

        pynetdicom's loop asks this every millisecond. Here it waits until a release, an abort or the end of the
        connection is there to be looked at.
        """
        with contextlib.suppress(queue.Empty):
            self.msg_queue.get(timeout=_LONGEST_WAIT_S)
        return None, None

    def receive_primitive(self, primitive: P_DATA | DataTransfer) -> None:
        """Take the fragments of one PDU; abort the association where they make no message."""
        try:
            for context_id, value in primitive.presentation_data_value_list:
                self._receive_fragment(context_id, value[0], memoryview(value)[1:])
        except _ViolationError as violation:
            _LOGGER.warning("association with %r aborted: %s", self.assoc.requestor.ae_title, violation)
            self.discard()
            # Invalid PDU (PS3.8 Table 9-10): the state machine sends the A-ABORT.
            self.dul.event_queue.put("Evt19")

    def discard(self) -> None:
        """Forget the message that is arriving."""
        self._command.clear()
        if self._reception is not None:
            self._reception.discard()
            self._reception = None

    def _receive_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        if control & _COMMAND:
            if self._reception is not None:
                raise _ViolationError("a command where a data set should go on")
            if len(self._command) + len(fragment) > LARGEST_COMMAND_SET:
                raise _ViolationError("a command set without end")
            self._command += fragment
            if control & _LAST:
                self._begin(context_id)
        elif self._reception is None or context_id != self._context_id:
            raise _ViolationError("a data set without a command")
        else:
            self._reception.write(fragment)
            if control & _LAST:
                upper_layer: UpperLayer = self.dul  # type: ignore[assignment]  # as the association was built
                upper_layer.serve(self._finish)

    def _begin(self, context_id: int) -> None:
        command = _decode_command(bytes(self._command))
        self._command.clear()
        if context_id not in self.assoc._accepted_cx:  # noqa: SLF001 - accepted_contexts sorts them all at every call
            raise _ViolationError("a message on a presentation context that was not accepted")
        self._context_id = context_id
        self._message_id = command.message_id
        if command.field == _C_ECHO_RQ and not command.has_data_set:
            self._answer_echo(command)
        elif command.field == _C_STORE_RQ and command.has_data_set:
            self._reception = Reception(self._archive, self._store_request(command))
            self._reception.begin()
        elif command.field != _C_CANCEL_RQ:
            raise _ViolationError(f"a message with command field 0x{command.field:04X}")

    def _store_request(self, command: "_Command") -> StoreRequest:
        if not command.sop_instance_uid or not command.sop_class_uid:
            raise _ViolationError("a C-STORE request without Affected SOP Class or Instance UID")
        context = self.assoc._accepted_cx[self._context_id]  # noqa: SLF001 - as above
        return StoreRequest(
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            abstract_syntax=str(context.abstract_syntax),
            transfer_syntax=context.transfer_syntax[0],
            calling_ae_title=self.assoc.requestor.ae_title,
            called_ae_title=self.assoc.acceptor.ae_title,
        )

    def _finish(self) -> None:
        reception, self._reception = self._reception, None
        if reception is None:
            return
        refusal = reception.finish()
        response = C_STORE()
        response.MessageIDBeingRespondedTo = self._message_id
        response.AffectedSOPClassUID = UID(reception.request.sop_class_uid)
        response.Status = refusal.status if refusal else StoreStatus.SUCCESS
        if refusal is None or refusal.status is not StoreStatus.INVALID_SOP_INSTANCE:
            response.AffectedSOPInstanceUID = UID(reception.request.sop_instance_uid)
        if refusal:
            response.ErrorComment = refusal.comment  # type: ignore[assignment]  # pynetdicom declares None only
            _LOGGER.warning("%s refused: 0x%04X %s", reception.name, refusal.status, refusal.comment)
        self.send_msg(response, self._context_id)

    def _answer_echo(self, command: "_Command") -> None:
        response = C_ECHO()
        response.MessageIDBeingRespondedTo = command.message_id
        response.AffectedSOPClassUID = UID(command.sop_class_uid)
        response.Status = StoreStatus.SUCCESS
        self.send_msg(response, self._context_id)


@dataclass(frozen=True, kw_only=True)
class _Command:
    field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str


def _decode_command(content: bytes) -> _Command:
    """Decode a command set (PS3.7 6.3.1: Implicit VR Little Endian)."""
    try:
        ds: Dataset = decode(BytesIO(content), is_implicit_vr=True, is_little_endian=True)
        return _Command(
            field=int(ds.CommandField),
            message_id=int(ds.get("MessageID", 0)),
            has_data_set=int(ds.CommandDataSetType) != _NO_DATA_SET,
            sop_class_uid=_text(ds, "AffectedSOPClassUID"),
            sop_instance_uid=_text(ds, "AffectedSOPInstanceUID"),
        )
    except Exception as error:  # whatever foreign bytes make the parser do
        raise _ViolationError("a command set that does not parse") from error


def _text(ds: Dataset, keyword: str) -> str:
    """Return the text of an element as sent: converting a bad UID would warn about it."""
    element = ds.get_item(keyword) if keyword in ds else None
    value = element.value if element is not None else b""
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else str(value)
