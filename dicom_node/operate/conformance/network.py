"""The overview, and the details of network communication: what is negotiated, how long is waited, what is answered."""

import ast
import inspect
from collections.abc import Iterable, Sequence
from enum import IntEnum
from itertools import groupby, pairwise

from pynetdicom.presentation import PresentationContext

from dicom_node.association import MAXIMUM_PDU_BYTES
from dicom_node.c_find import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
from dicom_node.deliver import classify_status, propose_proofs, propose_results
from dicom_node.encode.sop_classes import RESULT_SOP_CLASSES, kinds_made
from dicom_node.operate.conformance.document import Section, Table
from dicom_node.query.session import REFUSALS, propose_questions
from dicom_node.receive.listener import NOT_A_SENDER, TOO_MANY
from dicom_node.receive.status import ReportStatus, StoreStatus
from dicom_node.receive.storage_scp import build_ae
from dicom_node.settings import Proof, Settings
from dicom_node.storage_commitment import FAILURE_REASONS, PUSH_MODEL
from dicom_node.store import DeliveryState

_STATES = {
    DeliveryState.SENT: "sent: proof is asked for",
    DeliveryState.PENDING: "tried again, for ever",
    DeliveryState.PARKED: "parked: an alarm, until an operator retries",
}
_TRIED_STATUSES = (0x0000, 0xB000, 0xB006, 0xB007, 0x0111, 0xA700, 0x0110, 0x0213, 0x0122, 0x0124, 0xA900, 0xC000)


def describe_overview(settings: Settings) -> Section:
    """Say on one page which services there are, and in which role (PS3.2 N.1)."""
    accepted = build_ae(settings).supported_contexts
    asked = [*proposals(settings)]
    used = dict.fromkeys(context.abstract_syntax for context in (*accepted, *(one for _, one in asked)))
    provided = {context.abstract_syntax for context in accepted} - {PUSH_MODEL}
    wanted = {context.abstract_syntax for _, context in asked}
    rows = [
        (uid.name, uid, "yes" if uid in wanted else "no", "yes" if uid in provided else "no") for uid in used if uid
    ]
    return Section(
        "Overview",
        (
            (
                "The node receives radiographs by C-STORE, analyses them for fractures and stores the results in the"
                " same study of an archive. It has no viewer and no archive function, supports no media interchange,"
                " and offers no DICOM web services."
            ),
            Table(("SOP class", "UID", "SCU", "SCP"), rows),
        ),
    )


def proposals(settings: Settings) -> Iterable[tuple[str, PresentationContext]]:
    """Give every presentation context that the node proposes under this configuration, with what it is for."""
    sent = [RESULT_SOP_CLASSES[kind] for kind in kinds_made(settings)]
    yield from (("sending results", context) for context in propose_results(sent))
    proofs = [PUSH_MODEL] if any(one.commitment is not Proof.NEVER for one in settings.destinations) else []
    if any(one.verify is not Proof.NEVER for one in settings.destinations):
        proofs += [STUDY_ROOT_FIND, PATIENT_ROOT_FIND]
    if proofs:
        yield from (("proving deliveries", context) for context in propose_proofs(proofs))
    if settings.reconcile is not None or settings.archives_by_sender:
        yield from (("asking and fetching", context) for context in propose_questions())


def describe_network(settings: Settings) -> Section:
    """Describe associations, presentation contexts, time-outs and status codes (PS3.2 N.7)."""
    ae = build_ae(settings)
    limits = settings.receive
    general = Table(
        ("what", "value"),
        (
            ("Application Context Name", "1.2.840.10008.3.1.1.1"),
            ("Implementation Class UID", ae.implementation_class_uid),
            ("Implementation Version Name", str(ae.implementation_version_name)),
            ("Largest PDU that is received, as acceptor", f"{limits.maximum_pdu_bytes} bytes"),
            ("Largest PDU that is received, as requestor", f"{MAXIMUM_PDU_BYTES} bytes"),
            ("Associations accepted at a time", str(limits.maximum_associations)),
            ("of one address", str(limits.maximum_associations_per_address)),
            ("Associations requested at a time", "two for each destination, and one for each archive that is asked"),
            ("Asynchronous operations", "not negotiated: one at a time"),
            ("Extended negotiation, user identity", "not supported"),
        ),
    )
    return Section(
        "Network communication",
        (
            Section("General", (general,)),
            _describe_acceptance(settings),
            Section("Presentation contexts accepted", (_contexts(("", one) for one in ae.supported_contexts),)),
            Section("Presentation contexts proposed", (_contexts(proposals(settings)),)),
            _describe_timers(settings),
            _describe_statuses(),
        ),
    )


def _describe_acceptance(settings: Settings) -> Section:
    rows = (
        ("the called AE title is not that of the node", "1, 1, 7"),
        ("the calling AE title, its address or its certificate is not that of a sender", _numbers(NOT_A_SENDER)),
        ("there are too many associations; senders try again", _numbers(TOO_MANY)),
    )
    senders = [
        (
            sender.ae_title,
            ", ".join(map(str, sender.networks)) or "any address",
            sender.certificate or ("any that [tls] trusts" if settings.has_incoming_tls else "none"),
        )
        for sender in settings.senders
    ]
    return Section(
        "Association policies",
        (
            (
                "The node accepts associations from these senders, and from destinations that may report on storage"
                " commitment. A connection from an address that none of them has is closed at once."
                " Processes of its own machine that call by its own AE title are answered C-ECHO, and nothing else."
            ),
            Table(("calling AE title", "networks", "certificate"), senders),
            "A request is rejected (PS3.8 Table 9-21: result, source, reason) where:",
            Table(("condition", "A-ASSOCIATE-RJ"), rows),
            (
                "Of the transfer syntaxes that a peer offers for a presentation context, the first of the node's own"
                " list is chosen; the list below has its order. A destination is sent results over one association"
                " for a study; each archive has a queue of its own, so that none waits for another."
            ),
        ),
    )


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))


def _contexts(contexts: Iterable[tuple[str, PresentationContext]]) -> Table:
    """Write presentation contexts as rows; neighbours that differ in the SOP class alone keep their own."""
    rows = []
    for purpose, context in contexts:
        uid = context.abstract_syntax
        syntaxes = "; ".join(f"{syntax.name} ({syntax})" for syntax in context.transfer_syntax)
        role = "SCU" if purpose or uid == PUSH_MODEL else "SCP"
        if uid is not None:
            rows.append((*([purpose] if purpose else []), uid.name, uid, syntaxes, role))
    header = ("SOP class", "UID", "transfer syntaxes", "role of the node")
    return Table(("for", *header) if rows and len(rows[0]) > len(header) else header, rows)


def _describe_timers(settings: Settings) -> Section:
    limits = settings.receive
    rows = [
        ("receiving", "ARTIM: an association is requested within", limits.acse_timeout_s),
        ("receiving", "a PDU that has begun is complete within", limits.pdu_deadline_s),
        ("receiving", "a message that has begun is complete within, or goes on at 4 kB/s", limits.dimse_timeout_s),
        ("receiving", "an idle association is closed after", limits.network_timeout_s),
        ("stopping", "what is in hand is finished within", settings.node.grace_s),
        ("completion", "a study is complete after this long without an image", settings.completion.quiet_s),
        ("completion", "a study is complete this long after its first image", settings.completion.max_wait_s),
    ]
    for archive in settings.archives_by_name.values():
        rows.append((archive.name, "a connection is made within, TLS handshake included", archive.connection_timeout_s))
        rows.append((archive.name, "an answer (ACSE, DIMSE) comes within, and each PDU", archive.response_timeout_s))
    for one in settings.destinations:
        rows.append((one.name, "the first retry follows after", one.retry_first_s))
        rows.append((one.name, "retries, each after twice the wait, follow at most after", one.retry_longest_s))
        rows.append((one.name, "a storage commitment report is waited for, on the same association", one.report_wait_s))
        rows.append((one.name, "a storage commitment report is waited for, at all", one.commitment_deadline_s))
        rows.append((one.name, "a result is looked for in vain before it counts as lost", one.verify_deadline_s))
    return Section("Time-outs", (Table(("for", "what", "seconds"), [(*row[:2], f"{row[2]:g}") for row in rows]),))


def _describe_statuses() -> Section:
    sent = [(f"{code:04X}", _STATES[classify_status(code)[0]]) for code in _TRIED_STATUSES]
    grouped = [
        (", ".join(code for code, _ in codes), behaviour)
        for behaviour, codes in groupby(sorted(sent, key=lambda one: one[1]), key=lambda one: one[1])
    ]
    return Section(
        "Status codes",
        (
            Section("C-STORE, as SCP", (_members(StoreStatus),)),
            Section("N-EVENT-REPORT, as SCU of storage commitment", (_members(ReportStatus),)),
            Section("C-STORE, as SCU", (Table(("status answered", "the result is"), grouped),)),
            Section(
                "C-FIND and C-MOVE, as SCU",
                (
                    "Every status but Success ends the question, which is asked again later. Known meanings:",
                    Table(("status", "meaning"), [(f"{code:04X}", said) for code, said in REFUSALS.items()]),
                ),
            ),
            Section(
                "Storage commitment, failure reasons",
                (Table(("reason", "meaning"), [(f"{code:04X}", said) for code, said in FAILURE_REASONS.items()]),),
            ),
        ),
    )


def _members(statuses: type[IntEnum]) -> Table:
    said = read_member_docs(statuses)
    return Table(
        ("status", "name", "meaning"),
        [(f"{one:04X}", one.name.replace("_", " ").capitalize(), said.get(one.name, "")) for one in statuses],
    )


def read_member_docs(enumeration: type[IntEnum]) -> dict[str, str]:
    """Read the sentence below each member of an enumeration from its source."""
    (definition,) = ast.parse(inspect.getsource(enumeration)).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for member, sentence in pairwise(body):
        if (
            isinstance(member, ast.Assign)
            and isinstance(sentence, ast.Expr)
            and isinstance(sentence.value, ast.Constant)
        ):
            found[ast.unparse(member.targets[0])] = str(sentence.value.value)
    return found
