"""The signed-in user's own: password and the tokens of programs."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response, status
from fastapi.responses import RedirectResponse

from dicom_node.audit import PersonAction
from dicom_node.web.access import AnyUser, OwnForm
from dicom_node.web.passwords import WeakPasswordError, hash_password, is_right
from dicom_node.web.secret_tokens import digest, draw_token
from dicom_node.web.sign_in import Visitor
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import explain, render
from inference.phrases import Phrase

router = APIRouter(prefix="/account", include_in_schema=False)


@router.get("")
def show_account(request: Request, site: TheSite, visitor: AnyUser) -> Response:
    """Show the page."""
    return _show(request, site, visitor)


@router.post("/password", dependencies=[OwnForm])
def change_password(
    *,
    request: Request,
    site: TheSite,
    visitor: AnyUser,
    password: Annotated[str, Form()] = "",
    new: Annotated[str, Form()] = "",
    repeated: Annotated[str, Form()] = "",
) -> Response:
    """Set a new password; every session of the user ends, this one too, and every token."""
    name = visitor.user.name
    if not is_right(password, visitor.user.password_hash):
        return _show(request, site, visitor, said=Phrase("The present password is wrong."), status_code=400)
    if new != repeated:
        return _show(request, site, visitor, said=Phrase("The two new passwords differ."), status_code=400)
    try:
        site.accounts.change_user(name, password_hash=hash_password(new, user=name))
    except WeakPasswordError as error:
        return _show(request, site, visitor, said=explain(error), status_code=400)
    site.note_account(visitor, PersonAction.SET_PASSWORD, name)
    return RedirectResponse("/login?ended=1", status.HTTP_303_SEE_OTHER)


@router.post("/tokens", dependencies=[OwnForm])
def add_token(
    request: Request, site: TheSite, visitor: AnyUser, label: Annotated[str, Form(max_length=64)] = ""
) -> Response:
    """Make a token and show it, this once."""
    token = draw_token()
    if not label or not site.accounts.add_token(digest(token), visitor.user.name, label):
        return _show(
            request, site, visitor, said=Phrase("Give the token a name that none of yours has."), status_code=400
        )
    site.note_account(visitor, PersonAction.ADD_TOKEN, visitor.user.name)
    return _show(request, site, visitor, token=token)


@router.post("/tokens/remove", dependencies=[OwnForm])
def remove_token(site: TheSite, visitor: AnyUser, label: Annotated[str, Form()] = "") -> Response:
    """Remove a token."""
    if site.accounts.remove_token(visitor.user.name, label):
        site.note_account(visitor, PersonAction.REMOVE_TOKEN, visitor.user.name)
    return RedirectResponse("/account", status.HTTP_303_SEE_OTHER)


def _show(
    request: Request, site: Site, visitor: Visitor, *, said: str = "", token: str = "", status_code: int = 200
) -> Response:
    mine = [one for one in site.accounts.tokens() if one.user == visitor.user.name]
    return render(
        request, "account.html", visitor=visitor, said=said, token=token, tokens=mine, status_code=status_code
    )
