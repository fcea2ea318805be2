"""DIMSE messages as they arrive in fragments (PS3.7 6.3.1, PS3.8 annex E): C-ECHO, C-STORE, N-EVENT-REPORT, no others.

A data set's fragments go to disk as they come; memory use does not depend on the size of objects.
"""

import contextlib
import logging
import queue
import struct
import time
from dataclasses import dataclass

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.audit import AuditEvent, Transfers
from dicom_node.receive.archive import Archive
from dicom_node.receive.commitment import IncomingReport
from dicom_node.receive.reception import Reception, StoreRequest
from dicom_node.receive.status import RefusedError, StoreStatus
from dicom_node.receive.upper_layer import UpperLayer
from dicom_node.storage_commitment import PUSH_MODEL, PUSH_MODEL_INSTANCE
from dicom_node.upper_layer.connection import SLOWEST_BYTES_PER_S, DataTransfer

_LOGGER = logging.getLogger("dicom_node.receive")

_COMMAND, _LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""
LARGEST_COMMAND_SET = 64 * 1024
_C_STORE_RQ, _C_ECHO_RQ, _C_CANCEL_RQ, _N_EVENT_REPORT_RQ = 0x0001, 0x0030, 0x0FFF, 0x0100
_C_STORE_RSP, _C_ECHO_RSP, _N_EVENT_REPORT_RSP = 0x8001, 0x8030, 0x8100
_NO_DATA_SET = 0x0101
_PDV_OVERHEAD = 6
_TAG_AND_LENGTH, _US, _UL = struct.Struct("<HHI"), struct.Struct("<H"), struct.Struct("<I")
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
        self._began_at = 0.0
        self._received = 0
        self._reception: Reception | IncomingReport | None = None
        self._transfers = Transfers()

    @property
    def _upper_layer(self) -> UpperLayer:
        return self.dul  # type: ignore[return-value]  # as the association was built

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
            if not self.is_receiving:
                self._began_at, self._received = time.monotonic(), 0
            for context_id, value in primitive.presentation_data_value_list:
                self._received += len(value)
                self._receive_fragment(context_id, value[0], memoryview(value)[1:])
            self._check_pace()
        except _ViolationError as violation:
            _LOGGER.warning("association with %r aborted: %s", self.assoc.requestor.ae_title, violation)
            self.discard()
            # Invalid PDU (PS3.8 Table 9-10): the state machine sends the A-ABORT.
            self.dul.event_queue.put("Evt19")

    def _check_pace(self) -> None:
        """Let nobody keep a message open by sending a little of it now and then.

        One that takes longer than the DIMSE time-out must come at a pace.
        """
        allowed_s = (self.dimse_timeout or 0) + self._received / SLOWEST_BYTES_PER_S
        if self.is_receiving and time.monotonic() - self._began_at > allowed_s:
            raise _ViolationError("a message that comes too slowly")

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
                self._upper_layer.serve(self._finish)

    def _begin(self, context_id: int) -> None:
        command = _decode_command(bytes(self._command))
        self._command.clear()
        if context_id not in self.assoc._accepted_cx:  # noqa: SLF001 - accepted_contexts sorts them all at every call
            raise _ViolationError("a message on a presentation context that was not accepted")
        self._context_id = context_id
        self._message_id = command.message_id
        if command.field == _C_ECHO_RQ and not command.has_data_set:
            self._answer(_C_ECHO_RSP, command.sop_class_uid)
        elif command.field == _C_STORE_RQ and command.has_data_set:
            self._reception = Reception(self._archive, self._store_request(command))
            self._reception.begin()
        elif command.field == _N_EVENT_REPORT_RQ and command.has_data_set:
            self._reception = self._begin_report(command)
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

    def _begin_report(self, command: "_Command") -> IncomingReport:
        context = self.assoc._accepted_cx[self._context_id]  # noqa: SLF001 - as above
        if context.abstract_syntax != PUSH_MODEL:
            raise _ViolationError("an N-EVENT-REPORT on a presentation context of another SOP class")
        return IncomingReport(
            self._archive.store,
            self._archive.reporters.names(self.assoc.requestor.ae_title),
            context.transfer_syntax[0],
            command.event_type,
        )

    def _finish(self) -> None:
        reception, self._reception = self._reception, None
        if isinstance(reception, IncomingReport):
            self._answer(_N_EVENT_REPORT_RSP, PUSH_MODEL, PUSH_MODEL_INSTANCE, reception.finish())
        elif reception is not None:
            self._finish_object(reception)

    def _finish_object(self, reception: Reception) -> None:
        refusal = reception.finish()
        self._note(reception, refusal)
        if refusal:
            _LOGGER.warning("%s refused: 0x%04X %s", reception.name, refusal.status, refusal.comment)
        self._answer(
            _C_STORE_RSP,
            reception.request.sop_class_uid,
            # Not repeated where it is no UID (PS3.7 Table 9.1-1 leaves it to the user).
            ""
            if refusal and refusal.status is StoreStatus.INVALID_SOP_INSTANCE
            else reception.request.sop_instance_uid,
            refusal.status if refusal else StoreStatus.SUCCESS,
            refusal.comment if refusal else "",
        )

    def _note(self, reception: Reception, refusal: RefusedError | None) -> None:
        """Write a line of the audit trail before the answer goes out."""
        request = reception.request
        self._transfers.count(reception.study_instance_uid, request.sop_class_uid, success=refusal is None)
        self._archive.trail.note(
            AuditEvent.INSTANCE_RECEIVED,
            calling_ae_title=request.calling_ae_title,
            host=self.assoc.requestor.address or "",
            sop_class_uid=request.sop_class_uid,
            sop_instance_uid=request.sop_instance_uid,
            study_instance_uid=reception.study_instance_uid,
            status=refusal.status if refusal else StoreStatus.SUCCESS,
            outcome=refusal.comment if refusal else reception.admission,
        )

    def note_transfers(self) -> None:
        """Write what came through the association, now that it is over."""
        requestor = self.assoc.requestor
        self._transfers.note(self._archive.trail, peer_ae_title=requestor.ae_title, host=requestor.address)

    def _answer(
        self, field: int, sop_class_uid: str, sop_instance_uid: str = "", status: int = 0x0000, comment: str = ""
    ) -> None:
        content = encode_response(
            field, self._message_id, sop_class_uid, sop_instance_uid, status=status, comment=comment
        )
        step = max((self.maximum_pdu_size or LARGEST_COMMAND_SET) - _PDV_OVERHEAD, 1)
        for start in range(0, len(content), step):
            control = _COMMAND | (_LAST if start + step >= len(content) else 0)
            self._upper_layer.send_value(self._context_id, bytes([control]) + content[start : start + step])


def encode_response(
    field: int, message_id: int, sop_class_uid: str, sop_instance_uid: str, *, status: int, comment: str
) -> bytes:
    """Encode the command set of a response (PS3.7 9.3.1.2, 9.3.5.2, 10.3.1.2), Implicit VR Little Endian.

    By hand for the same reason as the File Meta Information: it is small, of one form, and encoded for every object.
    """
    elements = b"".join(
        (
            _element(0x0002, sop_class_uid.encode("latin-1"), b"\0"),
            _element(0x0100, _US.pack(field)),
            _element(0x0120, _US.pack(message_id)),
            _element(0x0800, _US.pack(_NO_DATA_SET)),
            _element(0x0900, _US.pack(status)),
            _element(0x0902, comment.encode("ascii", "replace"), b" ") if comment else b"",
            _element(0x1000, sop_instance_uid.encode("latin-1"), b"\0") if sop_instance_uid else b"",
        )
    )
    return _element(0x0000, _UL.pack(len(elements))) + elements


def _element(number: int, value: bytes, padding: bytes = b"") -> bytes:
    value += padding * (len(value) % 2)
    return _TAG_AND_LENGTH.pack(0x0000, number, len(value)) + value


@dataclass(frozen=True, kw_only=True)
class _Command:
    field: int
    message_id: int
    has_data_set: bool
    sop_class_uid: str
    sop_instance_uid: str
    event_type: int
    """0 where there is none."""


def _decode_command(content: bytes) -> _Command:
    """Decode a command set (PS3.7 6.3.1, E.1): Implicit VR Little Endian, no sequences."""
    values: dict[int, bytes] = {}
    offset = 0
    while offset < len(content):
        if len(content) - offset < _TAG_AND_LENGTH.size:
            raise _ViolationError("a command set that does not parse")
        group, number, length = _TAG_AND_LENGTH.unpack_from(content, offset)
        offset += _TAG_AND_LENGTH.size + length
        if group != 0x0000 or offset > len(content):
            raise _ViolationError("a command set that does not parse")
        values[number] = content[offset - length : offset]
    return _Command(
        field=_number(values, 0x0100),
        message_id=_number(values, 0x0110),
        has_data_set=_number(values, 0x0800) != _NO_DATA_SET,
        sop_class_uid=_text(values, 0x0002),
        sop_instance_uid=_text(values, 0x1000),
        event_type=_number(values, 0x1002) if 0x1002 in values else 0,
    )


def _number(values: dict[int, bytes], number: int) -> int:
    value = values.get(number, b"")
    if len(value) != _US.size:
        raise _ViolationError(f"a command set without (0000,{number:04X})")
    return int.from_bytes(value, "little")


def _text(values: dict[int, bytes], number: int) -> str:
    return values.get(number, b"").decode("latin-1").strip(" \0")
