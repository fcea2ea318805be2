"""DICOM audit messages (PS3.15 A.5) from lines of the trail: what the node does by itself, and what people do.

Which parts they are made of, and what they say of patients: `parts`.
"""

from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.audit.parts import (
    DESTINATION,
    MINOR_FAILURE,
    REPORT,
    SECURITY_RESOURCE,
    SOURCE,
    SUCCESS,
    SYSTEM_OBJECT,
    Line,
    add_detail,
    add_node,
    add_object,
    add_patient,
    add_peer,
    add_person,
    add_source,
    add_study,
    begin_message,
    code_of,
    encode_keys,
    user_identifier,
)
from dicom_node.audit.trail import AuditEvent, PersonAction

_STUDIES_A_MESSAGE = 50
"""As a page of the worklist has. UDP takes 64 KiB at most, and many servers less."""
_STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"


def divide(line: Line) -> Iterator[Line]:
    """Divide a line that may be of any number of studies, so that the message of each part fits into a datagram."""
    studies = line.get("study_instance_uids") or ()
    if len(studies) <= _STUDIES_A_MESSAGE:
        yield line
        return
    for first in range(0, len(studies), _STUDIES_A_MESSAGE):
        yield {**line, "study_instance_uids": studies[first : first + _STUDIES_A_MESSAGE]}


def encode_message(line: Line) -> bytes | None:
    """Encode the message for a line, UTF-8; None where the Standard has none for what it tells of."""
    build = _BUILDERS.get(line["event"])
    message = None if build is None else build(line)
    return None if message is None else ET.tostring(message, encoding="UTF-8", xml_declaration=True)


def _application(line: Line) -> ET.Element:
    kind = "110120" if line["event"] == AuditEvent.APPLICATION_START else "110121"
    message = begin_message(line, "110100", action="E", kind=kind)
    add_node(message, line, role="110150")
    return add_source(message, line)


def _refusal(line: Line) -> ET.Element:
    message = begin_message(line, "110113", action="E", kind="110126", outcome=MINOR_FAILURE)
    add_node(message, line)
    add_peer(message, line.get("calling_ae_title", ""), line["host"])
    add_source(message, line)
    stranger = add_object(message, SYSTEM_OBJECT, SECURITY_RESOURCE, code_of("110182"), line["host"])
    again = f"; {line['unwritten']} more before it were not written down" if "unwritten" in line else ""
    add_detail(stranger, "Alert Description", f"{line['event']}: {line['reason']}{again}".encode())
    return message


def _transfer(line: Line) -> ET.Element:
    begins = line["event"] == AuditEvent.TRANSFER_BEGUN
    comes_in = line.get("direction") == "in"
    outcome = SUCCESS if line.get("success", True) else MINOR_FAILURE
    # "C": this receiver had none of them. A sender does not know, and says "R" (A.5.3.7).
    action = "E" if begins else "C" if comes_in and outcome == SUCCESS else "R"
    message = begin_message(line, "110102" if begins else "110104", action=action, outcome=outcome)
    if comes_in:
        add_peer(message, line["peer_ae_title"], line["host"], role=SOURCE, requests=True)
        add_node(message, line, role=DESTINATION)
    else:
        add_node(message, line, role=SOURCE, requests=True)
        add_peer(message, line["peer_ae_title"], line["host"], role=DESTINATION)
    add_source(message, line)
    add_study(message, line["study_instance_uid"], line["sop_classes"])
    return add_patient(message)


def _access(line: Line) -> ET.Element:
    message = begin_message(line, "110103", action="R")
    add_node(message, line, requests=True)
    add_source(message, line)
    study = add_study(message, line["study_instance_uid"])
    for model in line["models"]:
        add_detail(study, "model", model.encode())
    return add_patient(message)


def _removal(line: Line) -> ET.Element:
    message = begin_message(line, "110105", action="D")
    add_node(message, line, requests=True)
    add_source(message, line)
    add_study(message, line["study_instance_uid"])
    return add_patient(message)


def _query(line: Line) -> ET.Element:
    message = begin_message(line, "110112", action="E")
    add_node(message, line, role=SOURCE, requests=True)
    add_peer(message, line["peer_ae_title"], line["host"], role=DESTINATION)
    add_source(message, line)
    keys = encode_keys(line["keys"])
    asked = add_object(message, SYSTEM_OBJECT, REPORT, code_of("110181"), line["sop_class_uid"], query=keys)
    add_detail(asked, "TransferSyntax", ImplicitVRLittleEndian.encode())
    return message


# What people do


def _authentication(line: Line) -> ET.Element:
    """Build User Authentication (A.5.3.13)."""
    kind = "110123" if line["action"] == PersonAction.SIGN_OUT else "110122"
    outcome = MINOR_FAILURE if line["action"] == PersonAction.SIGN_IN_REFUSED else SUCCESS
    message = begin_message(line, "110114", action="E", kind=kind, outcome=outcome)
    add_person(message, line)
    add_node(message, line)
    return add_source(message, line)


def _viewing(line: Line) -> ET.Element:
    """Build DICOM Instances Accessed (A.5.3.4): the person asks, the node reads."""
    message = begin_message(line, "110103", action="R")
    add_person(message, line)
    add_node(message, line)
    add_source(message, line)
    study = add_study(message, line["study_instance_uid"])
    add_detail(study, "action", line["action"].encode())
    return add_patient(message)


def _listing(line: Line) -> ET.Element:
    """Build Query (A.5.3.10): as the C-FIND would have been that brings the names of these studies."""
    message = begin_message(line, "110112", action="E")
    add_person(message, line, role=SOURCE)
    add_node(message, line, role=DESTINATION)
    add_source(message, line)
    studies = "\\".join(line["study_instance_uids"])
    asked_for = dict.fromkeys(("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"), "")
    keys = encode_keys({"QueryRetrieveLevel": "STUDY", **asked_for, "StudyInstanceUID": studies})
    asked = add_object(message, SYSTEM_OBJECT, REPORT, code_of("110181"), _STUDY_ROOT_FIND, query=keys)
    add_detail(asked, "TransferSyntax", ImplicitVRLittleEndian.encode())
    return message


def _administration(line: Line) -> ET.Element:
    """Build Security Alert (A.5.3.12) about the user that was made or changed."""
    kind = "110136" if line["action"] in _CHANGES_OF_ROLES else "110137"
    message = begin_message(line, "110113", action="E", kind=kind)
    add_person(message, line)
    add_node(message, line)
    add_source(message, line)
    subject = add_object(message, SYSTEM_OBJECT, SECURITY_RESOURCE, user_identifier(), line["subject"])
    role = f" as {line['role']}" if "role" in line else ""
    add_detail(subject, "Alert Description", f"{line['action']}{role}".encode())
    return message


def _operation(line: Line) -> ET.Element | None:
    """Build DICOM Instances Accessed where what was asked for concerns one study: "U", for something becomes of it."""
    if not line.get("study_instance_uid"):
        return None
    message = begin_message(line, "110103", action="U")
    add_person(message, line)
    add_node(message, line)
    add_source(message, line)
    study = add_study(message, line["study_instance_uid"])
    destination = f" to {line['destination']}" if line.get("destination") else ""
    add_detail(study, "action", f"{line['action']}{destination}".encode())
    return add_patient(message)


_CHANGES_OF_ROLES = {PersonAction.ADD_USER, PersonAction.SET_ROLE, PersonAction.REMOVE_USER}

_BUILDERS: dict[str, Callable[[Line], ET.Element | None]] = {
    AuditEvent.APPLICATION_START: _application,
    AuditEvent.APPLICATION_STOP: _application,
    AuditEvent.CONNECTION_REFUSED: _refusal,
    AuditEvent.ASSOCIATION_REFUSED: _refusal,
    AuditEvent.TRANSFER_BEGUN: _transfer,
    AuditEvent.INSTANCES_TRANSFERRED: _transfer,
    AuditEvent.STUDY_ANALYSED: _access,
    AuditEvent.STUDY_REMOVED: _removal,
    AuditEvent.QUERY_SENT: _query,
    AuditEvent.USER_AUTHENTICATION: _authentication,
    AuditEvent.STUDY_VIEWED: _viewing,
    AuditEvent.PATIENTS_LISTED: _listing,
    AuditEvent.USER_ADMINISTRATION: _administration,
    AuditEvent.OPERATOR: _operation,
}
