"""What is encoded by hand, compared with what libraries make of it."""

from io import BytesIO
from pathlib import Path

import pytest
from pydicom.filereader import read_file_meta_info
from pynetdicom.dimse_messages import C_STORE_RSP
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode, encode
from raw_peer import DX

from dicom_node.durable import data_set_offset
from dicom_node.receive.messages import encode_response
from dicom_node.receive.part10 import IMPLEMENTATION_CLASS_UID, encode_file_meta, read_sender
from dicom_node.receive.status import RefusedError, StoreStatus


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
def test_file_meta_information_reads_back_with_pydicom(tmp_path: Path, uid: str) -> None:
    path = tmp_path / "object.dcm"
    head = encode_file_meta(
        sop_class_uid=DX, sop_instance_uid=uid, transfer_syntax_uid="1.2.840.10008.1.2", sender="ODD", receiver="EVEN"
    )
    path.write_bytes(head + b"data set")
    meta = read_file_meta_info(path)
    assert (meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID) == (DX, uid)
    assert (meta.ImplementationClassUID, meta.FileMetaInformationVersion) == (IMPLEMENTATION_CLASS_UID, b"\0\1")
    assert meta.ReceivingApplicationEntityTitle == "EVEN"
    assert read_sender(path) == ("1.2.840.10008.1.2", "ODD")
    assert path.read_bytes()[data_set_offset(head) :] == b"data set"


@pytest.mark.parametrize("comment", ["", "odd", "even"])
def test_responses_are_encoded_as_pynetdicom_does(comment: str) -> None:
    primitive = C_STORE()
    primitive.MessageIDBeingRespondedTo = 7
    primitive.AffectedSOPClassUID = DX
    primitive.AffectedSOPInstanceUID = "1.2.3"
    primitive.Status = StoreStatus.OUT_OF_RESOURCES if comment else StoreStatus.SUCCESS
    primitive.ErrorComment = comment or None
    message = C_STORE_RSP()
    message.primitive_to_message(primitive)
    encoded = encode_response(0x8001, 7, DX, "1.2.3", status=primitive.Status, comment=comment)
    assert encoded == encode(message.command_set, is_implicit_vr=True, is_little_endian=True)
    assert decode(BytesIO(encoded), is_implicit_vr=True, is_little_endian=True) == message.command_set


def test_comments_are_cut_to_what_the_element_takes() -> None:
    assert len(RefusedError(StoreStatus.CANNOT_UNDERSTAND, "x" * 100).comment) == 64
