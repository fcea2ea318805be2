"""Signing in and out, and the first user."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response, status
from fastapi.responses import RedirectResponse

from dicom_node.audit import PersonAction
from dicom_node.errors import NodeError
from dicom_node.web.access import AnyUser, OwnForm, address_of, cookie_name
from dicom_node.web.roles import Role
from dicom_node.web.sign_in import TooManyAttemptsError, Visitor, build_user
from dicom_node.web.site import Site, TheSite
from dicom_node.web.templating import explain, render
from inference.phrases import Phrase

router = APIRouter(include_in_schema=False)


@router.get("/login")
def show_login(request: Request, site: TheSite, ended: bool = False) -> Response:
    """Show the form; the one of the first run where there is no user yet."""
    if site.first_run.prepare():
        return RedirectResponse("/first-run", status.HTTP_303_SEE_OTHER)
    said = Phrase("Your session has ended. Please sign in again.") if ended else ""
    return render(request, "login.html", said=said, failed=False)


@router.post("/login")
def log_in(
    request: Request, site: TheSite, name: Annotated[str, Form()] = "", password: Annotated[str, Form()] = ""
) -> Response:
    """Begin a session."""
    try:
        token = site.sign_in.sign_in(name, password, address_of(request))
    except TooManyAttemptsError as error:
        said = Phrase("Too many wrong passwords. Try again in {seconds} seconds.", seconds=error.wait_s)
        answer = render(request, "login.html", said=said, failed=True, status_code=status.HTTP_429_TOO_MANY_REQUESTS)
        answer.headers["Retry-After"] = str(error.wait_s)
        return answer
    if token is None:
        said = Phrase("Name or password is wrong.")
        return render(request, "login.html", said=said, failed=True, status_code=status.HTTP_401_UNAUTHORIZED)
    return _begin(site, token)


def _begin(site: Site, token: str) -> Response:
    answer = RedirectResponse("/", status.HTTP_303_SEE_OTHER)
    https = site.settings.web.https
    # Without an age: it ends with the browser, and on this side when the settings say so.
    answer.set_cookie(cookie_name(site), token, path="/", secure=https, httponly=True, samesite="strict")
    return answer


@router.post("/logout", dependencies=[OwnForm])
def log_out(request: Request, site: TheSite, visitor: AnyUser) -> Response:
    """End the session."""
    site.sign_in.end(request.cookies.get(cookie_name(site), ""), visitor)
    answer = RedirectResponse("/login", status.HTTP_303_SEE_OTHER)
    answer.delete_cookie(cookie_name(site), path="/", secure=site.settings.web.https, httponly=True)
    return answer


@router.get("/first-run")
def show_first_run(request: Request, site: TheSite) -> Response:
    """Show the form that makes the first user."""
    if not site.first_run.prepare():
        return RedirectResponse("/login", status.HTTP_303_SEE_OTHER)
    return render(request, "first_run.html", file=site.first_run.path, said="")


@router.post("/first-run")
def make_first_user(
    *,
    request: Request,
    site: TheSite,
    token: Annotated[str, Form()] = "",
    name: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    repeated: Annotated[str, Form()] = "",
) -> Response:
    """Make the first user, an administrator, where the token is the one in the node's data folder."""
    said: str = ""
    if not site.first_run.accepts(token):
        said = Phrase("This is not the token in the file.")
    elif password != repeated:
        said = Phrase("The two passwords differ.")
    else:
        try:
            user = build_user(name, password, Role.ADMINISTRATOR)
        except NodeError as error:
            said = explain(error)
    if said:
        return render(request, "first_run.html", file=site.first_run.path, said=said, status_code=400)
    if site.accounts.add_user(user, only_as_first=True):
        site.first_run.finish()
        first = Visitor(user=user, address=address_of(request))
        site.note_account(first, PersonAction.ADD_USER, name, role=user.role)
    token_of_session = site.sign_in.sign_in(name, password, address_of(request))
    return _begin(site, token_of_session) if token_of_session else RedirectResponse("/login", 303)
