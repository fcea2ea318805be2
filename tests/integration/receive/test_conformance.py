"""The conformance statement says what the node negotiates, waits and answers: all of it, and nothing else."""

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, build_context
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification

from dicom_node.encode.sop_classes import RESULT_SOP_CLASSES
from dicom_node.operate.conformance import build_statement, write_html, write_markdown
from dicom_node.operate.conformance.document import Section, Table
from dicom_node.receive.presentation import TRANSFER_SYNTAXES
from dicom_node.receive.status import ReportStatus, StoreStatus
from dicom_node.settings import Action, Archive, DatabaseSettings, Proof, ResultSettings, Rule
from dicom_node.values import ResultKind


def table_below(section, title):
    """Find the first table of the section with that title."""
    for block in section.blocks:
        if isinstance(block, Section):
            if block.title == title:
                return next(one for one in block.blocks if isinstance(one, Table))
            if found := table_below(block, title):
                return found
    return None


def change(settings, table, **keys):
    return settings.model_copy(update={table: getattr(settings, table).model_copy(update=keys)})


def test_what_a_running_receiver_accepts_is_what_the_statement_says(start, build_settings):
    """Every storage SOP class that there is, is asked for; those that are accepted are those of the statement."""
    receiver = start()
    rows = table_below(build_statement(build_settings()), "Presentation contexts accepted").rows
    stated = {uid: syntaxes for _, uid, syntaxes, role in rows if role == "SCP"}
    known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    accepted = {}
    for first in range(0, len(known) + 1, 100):
        contexts: list[PresentationContext] = [
            build_context(uid, list(TRANSFER_SYNTAXES)) for uid in (*known, str(Verification))[first : first + 100]
        ]
        assoc = AE(ae_title="ORTHANC").associate("127.0.0.1", receiver.port, contexts, ae_title="FRACTUREAI")
        assert assoc.is_established
        accepted |= {str(one.abstract_syntax): one.transfer_syntax[0] for one in assoc.accepted_contexts}
        assoc.release()
    assert accepted.keys() == stated.keys()
    assert all(syntax in stated[uid] for uid, syntax in accepted.items())


@pytest.mark.parametrize(
    ("section", "statuses"),
    [("C-STORE, as SCP", StoreStatus), ("N-EVENT-REPORT, as SCU of storage commitment", ReportStatus)],
)
def test_every_status_that_the_node_answers_with_is_explained(build_settings, section, statuses):
    rows = table_below(build_statement(build_settings()), section).rows
    assert [row[0] for row in rows] == [f"{status:04X}" for status in statuses]
    assert all(len(meaning) > 20 for _, _, meaning in rows)


@pytest.mark.parametrize(
    ("table", "key", "value", "written"),
    [
        ("receive", "acse_timeout_s", 88123, "| 88123 |"),
        ("receive", "dimse_timeout_s", 88124, "| 88124 |"),
        ("receive", "network_timeout_s", 88125, "| 88125 |"),
        ("receive", "pdu_deadline_s", 88126, "| 88126 |"),
        ("receive", "maximum_associations", 88127, "| 88127 |"),
        ("receive", "maximum_pdu_bytes", 65432, "65432 bytes"),
        ("completion", "quiet_s", 88128, "| 88128 |"),
        ("node", "ae_title", "OTHERNODE", "OTHERNODE"),
        ("retention", "files_days", 77, "77 days"),
    ],
)
def test_a_changed_setting_changes_the_statement(build_settings, table, key, value, written):
    settings = build_settings()
    before = write_markdown(build_statement(settings))
    after = write_markdown(build_statement(change(settings, table, **{key: value})))
    assert written not in before
    assert after.count(written) >= 2 or key in {"files_days", "maximum_pdu_bytes"}
    assert written in after


def test_what_is_proposed_follows_the_configuration(build_settings):
    settings = build_settings()

    def proposed(settings):
        rows = table_below(build_statement(settings), "Presentation contexts proposed").rows
        return {name for _, name, *_ in rows}

    assert {"Secondary Capture Image Storage", "Storage Commitment Push Model SOP Class"} <= proposed(settings)
    quiet = settings.destinations[0].model_copy(update={"commitment": Proof.NEVER, "verify": Proof.NEVER})
    unproven = proposed(settings.model_copy(update={"destinations": (quiet,)}))
    assert not any("FIND" in name or "Commitment" in name for name in unproven)
    assert "Key Object Selection Document Storage" not in proposed(settings)
    rejecting = settings.model_copy(update={"results": ResultSettings(reject_superseded=True)})
    assert "Key Object Selection Document Storage" in proposed(rejecting)


def test_who_is_asked_for_proofs_instead_is_told(build_settings):
    settings = build_settings()
    queries = Archive(name="queries", ae_title="PACS_QR", host="192.0.2.2", port=104)
    elsewhere = settings.destinations[0].model_copy(update={"verify_at": queries})
    statement = build_statement(settings.model_copy(update={"destinations": (elsewhere,)}))
    (row,) = table_below(statement, "Storage, as SCU").rows
    assert row[-2:] == ("when offered", "when offered, by queries")


def test_every_kind_of_result_has_its_sop_class_in_the_statement(build_settings):
    assert set(RESULT_SOP_CLASSES) == set(ResultKind)
    rejecting = build_settings().model_copy(update={"results": ResultSettings(reject_superseded=True)})
    rows = table_below(build_statement(rejecting), "Objects that are created").rows
    assert {(kind, uid) for kind, _, uid in rows} == {(str(kind), uid) for kind, uid in RESULT_SOP_CLASSES.items()}


def test_rules_that_leave_studies_out_are_told(build_settings):
    rules = (Rule(name="no infants", action=Action.EXCLUDE),)
    told = write_markdown(build_statement(build_settings().model_copy(update={"rules": rules})))
    assert "Rules of this site leave studies out: no infants." in told


def test_no_password_of_a_database_is_in_it(build_settings):
    secret = DatabaseSettings(url="postgresql+psycopg://node:hushhush@db/node")
    settings = build_settings().model_copy(update={"database": secret})
    assert "hushhush" not in write_html(build_statement(settings))


def test_the_page_holds_the_same_cells_escaped(build_settings):
    settings = change(build_settings(), "node", ae_title="<script>|")
    page, text = write_html(build_statement(settings)), write_markdown(build_statement(settings))
    assert "<script>" not in page
    assert "&lt;script&gt;|" in page
    assert "<script>\\|" in text
    assert page.count("<tr>") == sum(line.startswith("| ") for line in text.splitlines()) - page.count("<table>")
