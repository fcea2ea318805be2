"""DICOM audit messages (PS3.15 A.5) from lines of the trail.

A transfer, an access or a removal must name its patient (A.5.3). The node keeps no patient data outside the received
files and its results, so that participant is there with an identifier that says it is withheld: the Study Instance UID
names the patient to whoever may ask the archive.
"""

import base64
import socket
from collections.abc import Callable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.audit.trail import AuditEvent

Line = Mapping[str, Any]

WITHHELD = "withheld"
_SUCCESS, _MINOR_FAILURE = "0", "4"
_IP_ADDRESS, _MACHINE_NAME = "2", "1"
_APPLICATION_SERVER = "4"
"""Audit Source Type Code (A.5.1.2.1)."""
_SYSTEM_OBJECT, _PERSON = "2", "1"
_REPORT, _PATIENT, _SECURITY_RESOURCE = "3", "1", "13"
"""Participant Object Type Code Role (A.5.1.2.2)."""
_DCM: dict[str, str] = {
    "110100": "Application Activity",
    "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110112": "Query",
    "110113": "Security Alert",
    "110120": "Application Start",
    "110121": "Application Stop",
    "110126": "Node Authentication",
    "110150": "Application",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
    "110180": "Study Instance UID",
    "110181": "SOP Class UID",
    "110182": "Node ID",
}
_SOURCE, _DESTINATION = "110153", "110152"


def encode_message(line: Line) -> bytes | None:
    """Encode the message for a line, UTF-8; None where the Standard has none for what it tells of."""
    build = _BUILDERS.get(line["event"])
    return None if build is None else ET.tostring(build(line), encoding="UTF-8", xml_declaration=True)


def _application(line: Line) -> ET.Element:
    kind = "110120" if line["event"] == AuditEvent.APPLICATION_START else "110121"
    message = _message(line, "110100", action="E", kind=kind)
    _node(message, line, role="110150")
    return _with_source(message, line)


def _refusal(line: Line) -> ET.Element:
    message = _message(line, "110113", action="E", kind="110126", outcome=_MINOR_FAILURE)
    _node(message, line)
    _peer(message, line.get("calling_ae_title", ""), line["host"])
    _with_source(message, line)
    stranger = _object(message, _SYSTEM_OBJECT, _SECURITY_RESOURCE, _code_of("110182"), line["host"])
    again = f"; {line['unwritten']} more before it were not written down" if "unwritten" in line else ""
    _detail(stranger, "Alert Description", f"{line['event']}: {line['reason']}{again}".encode())
    return message


def _transfer(line: Line) -> ET.Element:
    begins = line["event"] == AuditEvent.TRANSFER_BEGUN
    comes_in = line.get("direction") == "in"
    outcome = _SUCCESS if line.get("success", True) else _MINOR_FAILURE
    # "C": this receiver had none of them. A sender does not know, and says "R" (A.5.3.7).
    action = "E" if begins else "C" if comes_in and outcome == _SUCCESS else "R"
    message = _message(line, "110102" if begins else "110104", action=action, outcome=outcome)
    if comes_in:
        _peer(message, line["peer_ae_title"], line["host"], role=_SOURCE, requests=True)
        _node(message, line, role=_DESTINATION)
    else:
        _node(message, line, role=_SOURCE, requests=True)
        _peer(message, line["peer_ae_title"], line["host"], role=_DESTINATION)
    _with_source(message, line)
    _study(message, line["study_instance_uid"], line["sop_classes"])
    return _with_patient(message)


def _access(line: Line) -> ET.Element:
    message = _message(line, "110103", action="R")
    _node(message, line, requests=True)
    _with_source(message, line)
    study = _study(message, line["study_instance_uid"])
    for model in line["models"]:
        _detail(study, "model", model.encode())
    return _with_patient(message)


def _removal(line: Line) -> ET.Element:
    message = _message(line, "110105", action="D")
    _node(message, line, requests=True)
    _with_source(message, line)
    _study(message, line["study_instance_uid"])
    return _with_patient(message)


def _query(line: Line) -> ET.Element:
    message = _message(line, "110112", action="E")
    _node(message, line, role=_SOURCE, requests=True)
    _peer(message, line["peer_ae_title"], line["host"], role=_DESTINATION)
    _with_source(message, line)
    keys = _encode_keys(line["keys"])
    asked = _object(message, _SYSTEM_OBJECT, _REPORT, _code_of("110181"), line["sop_class_uid"], query=keys)
    _detail(asked, "TransferSyntax", ImplicitVRLittleEndian.encode())
    return message


_BUILDERS: dict[str, Callable[[Line], ET.Element]] = {
    AuditEvent.APPLICATION_START: _application,
    AuditEvent.APPLICATION_STOP: _application,
    AuditEvent.CONNECTION_REFUSED: _refusal,
    AuditEvent.ASSOCIATION_REFUSED: _refusal,
    AuditEvent.TRANSFER_BEGUN: _transfer,
    AuditEvent.INSTANCES_TRANSFERRED: _transfer,
    AuditEvent.STUDY_ANALYSED: _access,
    AuditEvent.STUDY_REMOVED: _removal,
    AuditEvent.QUERY_SENT: _query,
}


# The parts of a message, in the order of the schema (A.5.1)


def _message(line: Line, event: str, *, action: str, kind: str = "", outcome: str = _SUCCESS) -> ET.Element:
    message = ET.Element("AuditMessage")
    attributes = {"EventActionCode": action, "EventDateTime": line["at"], "EventOutcomeIndicator": outcome}
    identification = ET.SubElement(message, "EventIdentification", attributes)
    ET.SubElement(identification, "EventID", _code_of(event))
    if kind:
        ET.SubElement(identification, "EventTypeCode", _code_of(kind))
    return message


def _node(message: ET.Element, line: Line, *, role: str = "", requests: bool = False) -> None:
    """Add the process that wrote the line: by the number that the logs of its machine have for it (A.5.2.1)."""
    identity = {"UserID": str(line["pid"]), "AlternativeUserID": f"AETITLES={line['node']}"}
    address = {"NetworkAccessPointID": socket.gethostname(), "NetworkAccessPointTypeCode": _MACHINE_NAME}
    _participant(message, {**identity, **address}, role=role, requests=requests)


def _peer(message: ET.Element, ae_title: str, host: str, *, role: str = "", requests: bool = False) -> None:
    kind = _IP_ADDRESS if _is_address(host) else _MACHINE_NAME
    # A connection that was closed before it said a word has but its address.
    identity = {"UserID": ae_title, "AlternativeUserID": f"AETITLES={ae_title}"} if ae_title else {"UserID": host}
    address = {"NetworkAccessPointID": host, "NetworkAccessPointTypeCode": kind}
    _participant(message, {**identity, **address}, role=role, requests=requests)


def _participant(message: ET.Element, attributes: dict[str, str], *, role: str, requests: bool) -> None:
    attributes = {**attributes, "UserIsRequestor": str(requests).lower()}
    participant = ET.SubElement(message, "ActiveParticipant", attributes)
    if role:
        ET.SubElement(participant, "RoleIDCode", _code_of(role))


def _with_source(message: ET.Element, line: Line) -> ET.Element:
    source = {"AuditSourceID": f"{line['node']}@{socket.gethostname()}"}
    identification = ET.SubElement(message, "AuditSourceIdentification", source)
    ET.SubElement(identification, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    return message


def _study(message: ET.Element, study_instance_uid: str, sop_classes: Mapping[str, int] | None = None) -> ET.Element:
    study = _object(message, _SYSTEM_OBJECT, _REPORT, _code_of("110180"), study_instance_uid)
    if sop_classes:
        description = ET.SubElement(study, "ParticipantObjectDescription")
        for uid, count in sorted(sop_classes.items()):
            ET.SubElement(description, "SOPClass", {"UID": uid, "NumberOfInstances": str(count)})
    return study


def _with_patient(message: ET.Element) -> ET.Element:
    patient_number = {"csd-code": "2", "codeSystemName": "RFC-3881", "originalText": "Patient Number"}
    _object(message, _PERSON, _PATIENT, patient_number, WITHHELD)
    return message


def _object(
    message: ET.Element, kind: str, role: str, id_type: dict[str, str], identifier: str, *, query: bytes | None = None
) -> ET.Element:
    attributes = {"ParticipantObjectTypeCode": kind, "ParticipantObjectTypeCodeRole": role}
    found = ET.SubElement(message, "ParticipantObjectIdentification", {"ParticipantObjectID": identifier, **attributes})
    ET.SubElement(found, "ParticipantObjectIDTypeCode", id_type)
    if query is None:
        ET.SubElement(found, "ParticipantObjectName").text = identifier
    else:
        ET.SubElement(found, "ParticipantObjectQuery").text = base64.b64encode(query).decode()
    return found


def _detail(found: ET.Element, kind: str, value: bytes) -> None:
    detail = {"type": kind, "value": base64.b64encode(value).decode()}
    ET.SubElement(found, "ParticipantObjectDetail", detail)


def _code_of(code: str) -> dict[str, str]:
    return {"csd-code": code, "codeSystemName": "DCM", "originalText": _DCM[code]}


def _encode_keys(keys: Mapping[str, str]) -> bytes:
    ds = Dataset()
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = True, True
    write_dataset(buffer, ds)
    return buffer.getvalue()


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
