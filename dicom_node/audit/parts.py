"""The parts of a DICOM audit message, in the order of the schema (PS3.15 A.5.1).

A transfer, an access or a removal must name its patient (A.5.3). The node keeps no patient data outside the received
files and its results, so that participant is there with an identifier that says it is withheld: the Study Instance UID
names the patient to whoever may ask the archive.
"""

import base64
import socket
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

Line = Mapping[str, Any]

WITHHELD = "withheld"
SUCCESS, MINOR_FAILURE = "0", "4"
_IP_ADDRESS, _MACHINE_NAME = "2", "1"
_APPLICATION_SERVER = "4"
"""Audit Source Type Code (A.5.1.2.1)."""
SYSTEM_OBJECT, PERSON = "2", "1"
REPORT, PATIENT, SECURITY_RESOURCE = "3", "1", "13"
"""Participant Object Type Code Role (A.5.1.2.2)."""
_DCM: dict[str, str] = {
    "110100": "Application Activity",
    "110102": "Begin Transferring DICOM Instances",
    "110103": "DICOM Instances Accessed",
    "110104": "DICOM Instances Transferred",
    "110105": "DICOM Study Deleted",
    "110112": "Query",
    "110113": "Security Alert",
    "110114": "User Authentication",
    "110120": "Application Start",
    "110121": "Application Stop",
    "110122": "Login",
    "110123": "Logout",
    "110126": "Node Authentication",
    "110136": "Security Roles Changed",
    "110137": "User Security Attributes Changed",
    "110150": "Application",
    "110152": "Destination Role ID",
    "110153": "Source Role ID",
    "110180": "Study Instance UID",
    "110181": "SOP Class UID",
    "110182": "Node ID",
}
SOURCE, DESTINATION = "110153", "110152"


def begin_message(line: Line, event: str, *, action: str, kind: str = "", outcome: str = SUCCESS) -> ET.Element:
    """Begin a message with its event; `kind` is its type code."""
    message = ET.Element("AuditMessage")
    attributes = {"EventActionCode": action, "EventDateTime": line["at"], "EventOutcomeIndicator": outcome}
    identification = ET.SubElement(message, "EventIdentification", attributes)
    ET.SubElement(identification, "EventID", code_of(event))
    if kind:
        ET.SubElement(identification, "EventTypeCode", code_of(kind))
    return message


def add_node(message: ET.Element, line: Line, *, role: str = "", requests: bool = False) -> None:
    """Add the process that wrote the line: by the number that the logs of its machine have for it (A.5.2.1)."""
    identity = {"UserID": str(line["pid"]), "AlternativeUserID": f"AETITLES={line['node']}"}
    address = {"NetworkAccessPointID": socket.gethostname(), "NetworkAccessPointTypeCode": _MACHINE_NAME}
    add_participant(message, {**identity, **address}, role=role, requests=requests)


def add_peer(message: ET.Element, ae_title: str, host: str, *, role: str = "", requests: bool = False) -> None:
    """Add the other side of a connection."""
    kind = _IP_ADDRESS if _is_address(host) else _MACHINE_NAME
    # A connection that was closed before it said a word has but its address.
    identity = {"UserID": ae_title, "AlternativeUserID": f"AETITLES={ae_title}"} if ae_title else {"UserID": host}
    address = {"NetworkAccessPointID": host, "NetworkAccessPointTypeCode": kind}
    add_participant(message, {**identity, **address}, role=role, requests=requests)


def add_person(message: ET.Element, line: Line, *, role: str = "") -> None:
    """Add whoever asked, by name of the account; where from, as far as that is known."""
    identity = {"UserID": line["user"] or "unknown"}
    if host := line.get("host"):
        kind = _IP_ADDRESS if _is_address(host) else _MACHINE_NAME
        identity |= {"NetworkAccessPointID": host, "NetworkAccessPointTypeCode": kind}
    add_participant(message, identity, role=role, requests=True)


def add_participant(message: ET.Element, attributes: dict[str, str], *, role: str, requests: bool) -> None:
    """Add whoever took part."""
    attributes = {**attributes, "UserIsRequestor": str(requests).lower()}
    participant = ET.SubElement(message, "ActiveParticipant", attributes)
    if role:
        ET.SubElement(participant, "RoleIDCode", code_of(role))


def add_source(message: ET.Element, line: Line) -> ET.Element:
    """Add this node as the source; return the message."""
    source = {"AuditSourceID": f"{line['node']}@{socket.gethostname()}"}
    identification = ET.SubElement(message, "AuditSourceIdentification", source)
    ET.SubElement(identification, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    return message


def add_study(message: ET.Element, study_instance_uid: str, sop_classes: Mapping[str, int] | None = None) -> ET.Element:
    """Add the study, with what it holds by SOP class where that is known."""
    study = add_object(message, SYSTEM_OBJECT, REPORT, code_of("110180"), study_instance_uid)
    if sop_classes:
        description = ET.SubElement(study, "ParticipantObjectDescription")
        for uid, count in sorted(sop_classes.items()):
            ET.SubElement(description, "SOPClass", {"UID": uid, "NumberOfInstances": str(count)})
    return study


def add_patient(message: ET.Element) -> ET.Element:
    """Add the patient, who is withheld; return the message."""
    patient_number = {"csd-code": "2", "codeSystemName": "RFC-3881", "originalText": "Patient Number"}
    add_object(message, PERSON, PATIENT, patient_number, WITHHELD)
    return message


def add_object(
    message: ET.Element, kind: str, role: str, id_type: dict[str, str], identifier: str, *, query: bytes | None = None
) -> ET.Element:
    """Add what it is about; return it."""
    attributes = {"ParticipantObjectTypeCode": kind, "ParticipantObjectTypeCodeRole": role}
    found = ET.SubElement(message, "ParticipantObjectIdentification", {"ParticipantObjectID": identifier, **attributes})
    ET.SubElement(found, "ParticipantObjectIDTypeCode", id_type)
    if query is None:
        ET.SubElement(found, "ParticipantObjectName").text = identifier
    else:
        ET.SubElement(found, "ParticipantObjectQuery").text = base64.b64encode(query).decode()
    return found


def add_detail(found: ET.Element, kind: str, value: bytes) -> None:
    """Add a detail to what it is about."""
    detail = {"type": kind, "value": base64.b64encode(value).decode()}
    ET.SubElement(found, "ParticipantObjectDetail", detail)


def user_identifier() -> dict[str, str]:
    """Write the code that says that a user is meant."""
    return {"csd-code": "11", "codeSystemName": "RFC-3881", "originalText": "User Identifier"}


def code_of(code: str) -> dict[str, str]:
    """Write a DICOM code."""
    return {"csd-code": code, "codeSystemName": "DCM", "originalText": _DCM[code]}


def encode_keys(keys: Mapping[str, str]) -> bytes:
    """Encode the keys of a query as they are sent: Implicit VR Little Endian."""
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
