"""The users of the pages, for administrators."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response, status
from fastapi.responses import RedirectResponse

from dicom_node.audit import PersonAction
from dicom_node.errors import NodeError
from dicom_node.web.access import Administrator, OwnForm
from dicom_node.web.roles import Role
from dicom_node.web.sign_in import Visitor, build_user
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import explain, render
from inference.phrases import Phrase

router = APIRouter(prefix="/users", include_in_schema=False)


@router.get("")
def show_users(request: Request, site: TheSite, visitor: Administrator) -> Response:
    """Show the page."""
    return _show(request, site, visitor)


@router.post("/add", dependencies=[OwnForm])
def add_user(
    *,
    request: Request,
    site: TheSite,
    visitor: Administrator,
    role: Annotated[Role, Form()],
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
) -> Response:
    """Add a user."""
    try:
        added = site.accounts.add_user(build_user(name, password, role))
    except NodeError as error:
        return _show(request, site, visitor, said=explain(error), status_code=400)
    if not added:
        return _show(request, site, visitor, said=Phrase("There is a user of that name already."), status_code=400)
    site.note_account(visitor, PersonAction.ADD_USER, name, role=role)
    return RedirectResponse("/users", status.HTTP_303_SEE_OTHER)


@router.post("/remove", dependencies=[OwnForm])
def remove_user(request: Request, site: TheSite, visitor: Administrator, name: Annotated[str, Form()] = "") -> Response:
    """Remove a user; not oneself, so that an administrator remains."""
    if name == visitor.user.name:
        return _show(request, site, visitor, said=Phrase("You cannot remove yourself."), status_code=400)
    if site.accounts.remove_user(name):
        site.note_account(visitor, PersonAction.REMOVE_USER, name)
    return RedirectResponse("/users", status.HTTP_303_SEE_OTHER)


def _show(request: Request, site: Site, visitor: Visitor, *, said: str = "", status_code: int = 200) -> Response:
    return render(
        request,
        "users.html",
        visitor=visitor,
        said=said,
        users=site.accounts.users(),
        roles=list(Role),
        status_code=status_code,
    )
