"""The worklist: studies with what became of them, failures first; it follows by itself what happens."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request, Response

from dicom_node.audit import PersonAction
from dicom_node.operate.worklist import FINDINGS, STATES, Filter, gather_worklist
from dicom_node.web.access import AnyUser, OwnForm
from dicom_node.web.roles import Permission, may
from dicom_node.web.sign_in import Visitor
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import render

router = APIRouter(include_in_schema=False)


def _from_address(state: str = "all", finding: str = "all", page: Annotated[int, Query(ge=1, le=10**6)] = 1) -> Filter:
    return Filter(state=state, finding=finding, page=page)


def _from_form(
    state: Annotated[str, Form()] = "all",
    finding: Annotated[str, Form()] = "all",
    page: Annotated[int, Form(ge=1, le=10**6)] = 1,
    search: Annotated[str, Form(max_length=200)] = "",
) -> Filter:
    # In the body of a form, because addresses end up in logs.
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
    listed = gather_worklist(site.store, chosen, site.identities if sees_patients else None)
    action = PersonAction.SEARCH_WORKLIST if chosen.search else PersonAction.SEE_WORKLIST
    site.note_listing(visitor, action, listed.named)
    return {
        "rows": listed.rows,
        "total": listed.total,
        "pages": listed.pages,
        "found": listed.found,
        "states": list(STATES),
        "decisions": list(FINDINGS),
        "alarms": site.store.alarms(),
    }
