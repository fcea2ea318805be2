"""DICOM audit messages against the schema and the tables of PS3.15 A.5."""

import base64
import json
import re
from io import BytesIO
from xml.etree import ElementTree as ET

import pytest
from pydicom.filereader import read_dataset
from pydicom.sr._concepts_dict import concepts

from dicom_node.audit import AuditEvent, AuditTrail, PersonAction
from dicom_node.audit.messages import encode_message
from dicom_node.audit.parts import WITHHELD

STUDY, CR = "1.2.826.1", "1.2.840.10008.5.1.4.1.1.1"
TRANSFER = {"peer_ae_title": "PACS", "host": "192.0.2.7", "study_instance_uid": STUDY, "sop_classes": {CR: 2}}
PERSON = {"user": "jane", "host": "192.0.2.8"}
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
FACTS = {
    AuditEvent.APPLICATION_START: {"role": "worker"},
    AuditEvent.APPLICATION_STOP: {"role": "worker"},
    AuditEvent.CONNECTION_REFUSED: {"host": "192.0.2.7", "reason": "no sender has this address", "unwritten": 3},
    AuditEvent.ASSOCIATION_REFUSED: {"calling_ae_title": "<X>&'\"", "host": "2001:db8::7", "reason": "unknown"},
    AuditEvent.TRANSFER_BEGUN: TRANSFER,
    AuditEvent.INSTANCES_TRANSFERRED: {**TRANSFER, "direction": "in", "success": True},
    AuditEvent.STUDY_ANALYSED: {"study_instance_uid": STUDY, "models": ["region 1.0.0", "fracture 1.1.0"]},
    AuditEvent.STUDY_REMOVED: {"study_instance_uid": STUDY, "reason": "retention"},
    AuditEvent.QUERY_SENT: {
        "peer_ae_title": "PACS",
        "host": "pacs.example",
        "sop_class_uid": STUDY_ROOT_FIND,
        "keys": {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": STUDY},
    },
    AuditEvent.USER_AUTHENTICATION: {**PERSON, "action": PersonAction.SIGN_IN},
    AuditEvent.STUDY_VIEWED: {**PERSON, "action": PersonAction.VIEW_STUDY, "study_instance_uid": STUDY},
    AuditEvent.PATIENTS_LISTED: {
        **PERSON,
        "action": PersonAction.SEE_WORKLIST,
        "study_instance_uids": [STUDY, f"{STUDY}.2"],
    },
    AuditEvent.USER_ADMINISTRATION: {**PERSON, "action": PersonAction.ADD_USER, "subject": "joe", "role": "viewer"},
    AuditEvent.OPERATOR: {
        "user": "jane",
        "action": "send",
        "study_instance_uid": STUDY,
        "destination": "archive",
    },
}
EVENT_IDS = {
    AuditEvent.APPLICATION_START: ("110100", "110120", "E"),
    AuditEvent.APPLICATION_STOP: ("110100", "110121", "E"),
    AuditEvent.CONNECTION_REFUSED: ("110113", "110126", "E"),
    AuditEvent.ASSOCIATION_REFUSED: ("110113", "110126", "E"),
    AuditEvent.TRANSFER_BEGUN: ("110102", None, "E"),
    AuditEvent.INSTANCES_TRANSFERRED: ("110104", None, "C"),
    AuditEvent.STUDY_ANALYSED: ("110103", None, "R"),
    AuditEvent.STUDY_REMOVED: ("110105", None, "D"),
    AuditEvent.QUERY_SENT: ("110112", None, "E"),
    AuditEvent.USER_AUTHENTICATION: ("110114", "110122", "E"),
    AuditEvent.STUDY_VIEWED: ("110103", None, "R"),
    AuditEvent.PATIENTS_LISTED: ("110112", None, "E"),
    AuditEvent.USER_ADMINISTRATION: ("110113", "110136", "E"),
    AuditEvent.OPERATOR: ("110103", None, "U"),
}

# What A.5.1 allows: for each element the attributes (required, optional) and the children in their order with the
# number of times that each may come.
CODE = ({"csd-code", "codeSystemName", "originalText"}, {"displayName"})
SCHEMA = {
    "AuditMessage": (
        (set(), set()),
        [
            ("EventIdentification", 1, 1),
            ("ActiveParticipant", 1, 99),
            ("AuditSourceIdentification", 1, 1),
            ("ParticipantObjectIdentification", 0, 99),
        ],
    ),
    "EventIdentification": (
        ({"EventDateTime", "EventOutcomeIndicator"}, {"EventActionCode"}),
        [("EventID", 1, 1), ("EventTypeCode", 0, 99), ("EventOutcomeDescription", 0, 1)],
    ),
    "ActiveParticipant": (
        (
            {"UserID", "UserIsRequestor"},
            {"AlternativeUserID", "UserName", "NetworkAccessPointID", "NetworkAccessPointTypeCode"},
        ),
        [("RoleIDCode", 0, 99), ("MediaIdentifier", 0, 1)],
    ),
    "AuditSourceIdentification": (
        ({"AuditSourceID"}, {"AuditEnterpriseSiteID"}),
        [("AuditSourceTypeCode", 0, 99)],
    ),
    "AuditSourceTypeCode": (({"csd-code"}, {"codeSystemName", "originalText", "displayName"}), []),
    "ParticipantObjectIdentification": (
        (
            {"ParticipantObjectID"},
            {
                "ParticipantObjectTypeCode",
                "ParticipantObjectTypeCodeRole",
                "ParticipantObjectDataLifeCycle",
                "ParticipantObjectSensitivity",
            },
        ),
        [
            ("ParticipantObjectIDTypeCode", 1, 1),
            ("ParticipantObjectName", 0, 1),  # this one or the next
            ("ParticipantObjectQuery", 0, 1),
            ("ParticipantObjectDetail", 0, 99),
            ("ParticipantObjectDescription", 0, 99),
        ],
    ),
    "ParticipantObjectDetail": (({"type", "value"}, set()), []),
    "ParticipantObjectDescription": ((set(), set()), [("SOPClass", 0, 99)]),
    "SOPClass": (({"NumberOfInstances"}, {"UID"}), [("Instance", 0, 99)]),
    **dict.fromkeys(("EventID", "EventTypeCode", "RoleIDCode", "ParticipantObjectIDTypeCode"), (CODE, [])),
    **dict.fromkeys(("ParticipantObjectName", "ParticipantObjectQuery"), ((set(), set()), [])),
}


def check(element):
    (required, optional), children = SCHEMA[element.tag]
    assert required <= set(element.attrib) <= required | optional, element.tag
    tags = [child.tag for child in element]
    order = [tag for tag, _, _ in children]
    assert tags == sorted(tags, key=order.index), element.tag
    for tag, least, most in children:
        assert least <= tags.count(tag) <= most, (element.tag, tag)
    if element.tag == "ParticipantObjectIdentification":
        assert tags.count("ParticipantObjectName") + tags.count("ParticipantObjectQuery") == 1
    for child in element:
        check(child)


@pytest.fixture
def message_of(tmp_path):
    """Write a line as the node would, and return the message that is made of what the file holds."""

    def build(event, **facts):
        audit = AuditTrail(tmp_path / "audit", "NODE")
        audit.note(event, **(facts or FACTS[event]))
        line = json.loads(audit.files()[-1].read_text().splitlines()[-1])
        return ET.fromstring(encode_message(line))  # noqa: S314  # our own

    return build


@pytest.mark.parametrize("event", FACTS)
def test_every_message_has_the_structure_of_the_schema(message_of, event):
    message = message_of(event)
    check(message)
    identification = message[0]
    event_id, kind, action = EVENT_IDS[event]
    assert identification.find("EventID").get("csd-code") == event_id
    found = identification.find("EventTypeCode")
    assert (found is None) if kind is None else found.get("csd-code") == kind
    assert identification.get("EventActionCode") == action
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)", identification.get("EventDateTime"))


@pytest.mark.parametrize("event", FACTS)
def test_every_code_is_the_standard_s(message_of, event):
    meanings = {code: meaning for term in concepts["DCM"].values() for code, (meaning, _) in term.items()}
    for element in message_of(event).iter():
        if element.get("codeSystemName") == "DCM":
            assert element.get("originalText") == meanings[element.get("csd-code")]


def test_events_without_a_message_make_none():
    line = {"at": "2026-01-01T00:00:00+00:00", "node": "N", "pid": 1, "event": AuditEvent.INSTANCE_RECEIVED}
    assert encode_message(line) is None
    assert {event for event in AuditEvent if event not in FACTS} == {
        AuditEvent.INSTANCE_RECEIVED,
        AuditEvent.RESULT_SETTLED,
    }
    of_no_study = {"event": AuditEvent.OPERATOR, "user": "jane", "action": "retry", "study_instance_uid": None}
    assert encode_message({**line, **of_no_study}) is None


def roles(message):
    return {
        one.find("RoleIDCode").get("csd-code"): (one.get("AlternativeUserID"), one.get("UserIsRequestor"))
        for one in message.findall("ActiveParticipant")
    }


def test_who_sent_and_who_received_is_told_apart(message_of):
    incoming = message_of(AuditEvent.INSTANCES_TRANSFERRED)
    assert roles(incoming) == {"110153": ("AETITLES=PACS", "true"), "110152": ("AETITLES=NODE", "false")}
    outgoing = message_of(AuditEvent.INSTANCES_TRANSFERRED, **{**TRANSFER, "direction": "out", "success": False})
    assert roles(outgoing) == {"110153": ("AETITLES=NODE", "true"), "110152": ("AETITLES=PACS", "false")}
    assert outgoing[0].get("EventActionCode") == "R"
    assert outgoing[0].get("EventOutcomeIndicator") == "4"


def test_at_most_one_participant_asked_for_it(message_of):
    for event in FACTS:
        asked = [one for one in message_of(event).findall("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
        assert len(asked) <= 1


@pytest.mark.parametrize(
    "event",
    [
        AuditEvent.TRANSFER_BEGUN,
        AuditEvent.INSTANCES_TRANSFERRED,
        AuditEvent.STUDY_ANALYSED,
        AuditEvent.STUDY_REMOVED,
        AuditEvent.STUDY_VIEWED,
        AuditEvent.OPERATOR,
    ],
)
def test_the_study_is_named_and_the_patient_is_withheld(message_of, event):
    study, patient = message_of(event).findall("ParticipantObjectIdentification")
    assert study.get("ParticipantObjectID") == STUDY
    assert study.find("ParticipantObjectIDTypeCode").get("csd-code") == "110180"
    assert patient.get("ParticipantObjectTypeCodeRole") == "1"
    assert patient.get("ParticipantObjectID") == WITHHELD


def test_what_was_transferred_is_counted_by_sop_class(message_of):
    (sop_class,) = message_of(AuditEvent.INSTANCES_TRANSFERRED).iter("SOPClass")
    assert sop_class.attrib == {"UID": CR, "NumberOfInstances": "2"}


def test_an_analysis_names_its_models(message_of):
    said = [
        base64.b64decode(one.get("value"))
        for one in message_of(AuditEvent.STUDY_ANALYSED).iter("ParticipantObjectDetail")
    ]
    assert said == [b"region 1.0.0", b"fracture 1.1.0"]


def test_an_alert_says_who_and_why(message_of):
    message = message_of(AuditEvent.CONNECTION_REFUSED)
    (stranger,) = message.findall("ParticipantObjectIdentification")
    assert stranger.get("ParticipantObjectID") == "192.0.2.7"
    (detail,) = stranger.findall("ParticipantObjectDetail")
    assert detail.get("type") == "Alert Description"
    said = base64.b64decode(detail.get("value")).decode()
    assert said == "connection refused: no sender has this address; 3 more before it were not written down"
    assert message.findall("ActiveParticipant")[1].get("NetworkAccessPointTypeCode") == "2"


def test_a_query_carries_its_keys(message_of):
    (query,) = message_of(AuditEvent.QUERY_SENT).iter("ParticipantObjectQuery")
    keys = read_dataset(BytesIO(base64.b64decode(query.text)), is_implicit_VR=True, is_little_endian=True)
    assert keys.StudyInstanceUID == STUDY
    assert keys.QueryRetrieveLevel == "STUDY"


def requestor(message):
    (found,) = [one for one in message.findall("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
    return found.get("UserID"), found.get("NetworkAccessPointID")


@pytest.mark.parametrize(
    "event",
    [
        AuditEvent.USER_AUTHENTICATION,
        AuditEvent.STUDY_VIEWED,
        AuditEvent.PATIENTS_LISTED,
        AuditEvent.USER_ADMINISTRATION,
    ],
)
def test_what_a_person_does_names_the_account_and_the_machine(message_of, event):
    assert requestor(message_of(event)) == ("jane", "192.0.2.8")


@pytest.mark.parametrize(
    ("action", "kind", "outcome"),
    [
        (PersonAction.SIGN_IN, "110122", "0"),
        (PersonAction.SIGN_IN_REFUSED, "110122", "4"),
        (PersonAction.SIGN_OUT, "110123", "0"),
    ],
)
def test_signing_in_and_out_and_being_refused_are_told_apart(message_of, action, kind, outcome):
    message = message_of(AuditEvent.USER_AUTHENTICATION, **{**PERSON, "user": "", "action": action})
    check(message)
    assert requestor(message)[0] == "unknown"  # what was typed is not repeated
    assert message[0].find("EventTypeCode").get("csd-code") == kind
    assert message[0].get("EventOutcomeIndicator") == outcome


def test_names_in_a_list_are_told_as_the_query_that_would_have_brought_them(message_of):
    (query,) = message_of(AuditEvent.PATIENTS_LISTED).iter("ParticipantObjectQuery")
    keys = read_dataset(BytesIO(base64.b64decode(query.text)), is_implicit_VR=True, is_little_endian=True)
    assert list(keys.StudyInstanceUID) == [STUDY, f"{STUDY}.2"]
    assert keys.PatientName == ""
    assert "AccessionNumber" in keys


@pytest.mark.parametrize(
    ("action", "kind"),
    [(PersonAction.SET_ROLE, "110136"), (PersonAction.SET_PASSWORD, "110137"), (PersonAction.ADD_TOKEN, "110137")],
)
def test_a_change_of_an_account_says_whose_it_is(message_of, action, kind):
    message = message_of(AuditEvent.USER_ADMINISTRATION, **PERSON, action=action, subject="joe")
    check(message)
    assert message[0].find("EventTypeCode").get("csd-code") == kind
    (subject,) = message.findall("ParticipantObjectIdentification")
    assert subject.get("ParticipantObjectID") == "joe"
    assert base64.b64decode(subject.find("ParticipantObjectDetail").get("value")).decode() == action
