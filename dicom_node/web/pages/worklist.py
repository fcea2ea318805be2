"""The worklist: studies with what became of them, failures first; it follows by itself what happens."""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from dicom_node.audit import PersonAction
from dicom_node.store import RECEIVING, RevisionState, WorklistEntry, WorklistQuery
from dicom_node.web.access import AnyUser, OwnForm
from dicom_node.web.identities import Identity
from dicom_node.web.roles import Permission, may
from dicom_node.web.sign_in import Visitor
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import render
from inference.phrases import Phrase
from inference.types import Decision

router = APIRouter(include_in_schema=False)

ROWS = 50
STATES: dict[str, tuple[str, ...]] = {
    Phrase("all"): (),
    Phrase("receiving"): (RECEIVING,),
    Phrase("at work"): (RevisionState.QUEUED, RevisionState.ANALYSING, RevisionState.DELIVERING),
    Phrase("done"): (RevisionState.DONE,),
    Phrase("failed"): (RevisionState.FAILED,),
    Phrase("left out"): (RevisionState.EXCLUDED, RevisionState.SUPERSEDED),
}
FINDINGS = ("all", *Decision)


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What the form above the list says."""

    state: str
    finding: str
    page: int
    search: str = ""
    """Part of a UID, or an accession number: in the body of a form, because addresses end up in logs."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the list."""

    entry: WorklistEntry
    identity: Identity | None


def _from_address(state: str = "all", finding: str = "all", page: Annotated[int, Query(ge=1, le=10**6)] = 1) -> Filter:
    return Filter(state=state, finding=finding, page=page)


def _from_form(
    state: Annotated[str, Form()] = "all",
    finding: Annotated[str, Form()] = "all",
    page: Annotated[int, Form(ge=1, le=10**6)] = 1,
    search: Annotated[str, Form(max_length=200)] = "",
) -> Filter:
    return Filter(state=state, finding=finding, page=page, search=search.strip())


@router.get("/")
def show_worklist(
    request: Request, site: TheSite, visitor: AnyUser, chosen: Annotated[Filter, Depends(_from_address)]
) -> Response:
    """Show the page."""
    return _render(request, site, visitor, chosen, "worklist.html")


@router.post("/", dependencies=[OwnForm])
def search_worklist(
    request: Request, site: TheSite, visitor: AnyUser, chosen: Annotated[Filter, Depends(_from_form)]
) -> Response:
    """Show the page for a search."""
    return _render(request, site, visitor, chosen, "worklist.html")


@router.post("/rows", dependencies=[OwnForm])
def follow_worklist(
    request: Request, site: TheSite, visitor: AnyUser, chosen: Annotated[Filter, Depends(_from_form)]
) -> Response:
    """Return the list as it stands now, which the page asks for every few seconds."""
    return _render(request, site, visitor, chosen, "worklist_rows.html")


def _render(request: Request, site: Site, visitor: Visitor, chosen: Filter, template: str) -> Response:
    return render(request, template, visitor=visitor, chosen=chosen, **_gather(site, visitor, chosen))


def _gather(site: Site, visitor: Visitor, chosen: Filter) -> dict[str, Any]:
    sees_patients = may(visitor.user.role, Permission.SEE_PATIENTS)
    found = site.identities.find_accession(chosen.search) if chosen.search and sees_patients else None
    query = WorklistQuery(
        states=STATES.get(chosen.state, ()),
        decision=chosen.finding if chosen.finding in set(Decision) else "",
        text=chosen.search,
        studies=frozenset(sorted(found.studies)[:ROWS]) if found else frozenset(),
        limit=ROWS,
        offset=(chosen.page - 1) * ROWS,
    )
    entries, total = site.store.worklist(query)
    patients = site.identities.of_studies([one.study_instance_uid for one in entries]) if sees_patients else {}
    action = PersonAction.SEARCH_WORKLIST if chosen.search else PersonAction.SEE_WORKLIST
    site.note_listing(visitor, action, [uid for uid, identity in patients.items() if identity is not None])
    return {
        "rows": [Row(entry=one, identity=patients.get(one.study_instance_uid)) for one in entries],
        "total": total,
        "pages": max(1, -(-total // ROWS)),
        "found": found,
        "states": list(STATES),
        "decisions": list(FINDINGS),
        "alarms": site.store.alarms(),
    }
