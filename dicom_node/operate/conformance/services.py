"""The implementation model, and what the node does with each service."""

from dicom_node.assemble.selection import RADIOGRAPHS
from dicom_node.operate.conformance.document import Section, Table
from dicom_node.settings import Action, Archive, Proof, Settings


def describe_model(settings: Settings) -> Section:
    """Describe the application entities and how data flows through them (PS3.2 N.4)."""
    rows = (
        ("Receiver", "Storage SCP, Verification SCP, receives storage commitment reports"),
        ("Sender", "Storage SCU, Storage Commitment SCU, Query SCU that proves deliveries, Verification SCU"),
        ("Asker", "Query/Retrieve SCU: what a study should hold, and what was never sent"),
    )
    return Section(
        "Implementation model",
        (
            f"All application entities have the AE title {settings.node.ae_title}.",
            Table(("application entity", "services"), rows),
            (
                "Sequence: images come by C-STORE and are durable before Success is answered; when the study is"
                " complete it is analysed; the results are stored in every destination, committed and found there."
            ),
        ),
    )


def describe_services(settings: Settings) -> Section:
    """Describe the services (PS3.2 N.5)."""
    return Section(
        "Services",
        (
            Section(
                "Verification",
                ("As SCP, C-ECHO is answered with Success. As SCU, C-ECHO is sent by `dicom-node doctor`.",),
            ),
            _describe_reception(settings),
            _describe_sending(settings),
            _describe_commitment(settings),
            _describe_questions(settings),
        ),
    )


def _describe_reception(settings: Settings) -> Section:
    images = "; ".join(sorted(one.name for one in RADIOGRAPHS))
    excluding = [rule.name for rule in settings.rules if rule.action is Action.EXCLUDE]
    rules = f" Rules of this site leave studies out: {', '.join(excluding)}." if excluding else ""
    days = settings.retention.files_days
    removed = (
        f"{days:g} days after every destination has proven that it has the results" if days else "by an operator alone"
    )
    return Section(
        "Storage, as SCP",
        (
            (
                "Level 2 (full): all attributes are kept, private ones included; the data set is kept byte for byte"
                " as it was sent. Success means that file, folder entry and database row survive a power cut. An"
                " object that is sent again with the same bytes is answered with Success and kept once; one with the"
                " same SOP Instance UID and other bytes is answered with Success and set aside, and the first one"
                " stays."
            ),
            (
                f"Images that may be analysed: {images}; of Secondary Captures those alone that say that they are"
                " digitised radiographs. All others are kept, and listed in the report with the reason. Results of"
                f" this node that come back are known and not analysed.{rules}"
            ),
            f"Received files are removed {removed}.",
        ),
    )


def _describe_sending(settings: Settings) -> Section:
    rows = [
        (
            one.name,
            one.ae_title,
            f"{one.host}:{one.port}",
            "yes" if one.tls else "no",
            _by(one.commitment, one.commitment_at),
            _by(one.verify, one.verify_at),
        )
        for one in settings.destinations
    ]
    return Section(
        "Storage, as SCU",
        (
            (
                "Results are stored in these destinations, in the patient and study of their sources. They never"
                " change once they are sent; a late image makes new results, which name those that they supersede."
            ),
            Table(("name", "AE title", "address", "TLS", "storage commitment", "search by C-FIND"), rows),
        ),
    )


def _by(proof: Proof, archive: Archive | None) -> str:
    return f"{proof}, by {archive.name}" if archive and proof is not Proof.NEVER else str(proof)


def _describe_commitment(settings: Settings) -> Section:
    if all(one.commitment is Proof.NEVER for one in settings.destinations):
        return Section("Storage commitment", ("Not used in this configuration.",))
    return Section(
        "Storage commitment, as SCU",
        (
            (
                "Push model. N-ACTION (action type 1) is sent for each study after its results were answered with"
                " Success, with a Transaction UID of its own. N-EVENT-REPORT (event types 1 and 2) is taken on the"
                f" same association or on one that the archive requests to {settings.node.host} port"
                f" {settings.node.port}, where it has the role of SCP. Without a report it is asked again, three times"
                " in all. What an archive cannot commit to is sent once more, then parked."
            ),
        ),
    )


def _describe_questions(settings: Settings) -> Section:
    asked = ", ".join(sorted(set(settings.archives_by_sender.values()))) or "none"
    searched = ", ".join(settings.reconcile.archives) if settings.reconcile else "none"
    return Section(
        "Query/Retrieve, as SCU",
        (
            (
                "To prove deliveries: C-FIND at IMAGE level, Study Root by Study and Series Instance UID, Patient"
                " Root with the Patient ID as well; where only the Study Root is offered, at STUDY level for the"
                " Patient ID."
            ),
            f"To know what a study holds: C-FIND at SERIES and IMAGE level (Study Root). Asked: {asked}.",
            (
                "To find what was never sent: C-FIND at STUDY level by Study Date (Study Root), then C-MOVE of the"
                f" missing series to the node's own AE title. Searched: {searched}."
            ),
            "Relational queries, extended negotiation and C-GET are not used. The node is no Query/Retrieve SCP.",
        ),
    )
