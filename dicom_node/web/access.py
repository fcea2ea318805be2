"""Who may ask for what: dependencies that each address names, and what happens to those who may not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Form, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from dicom_node.web.roles import Permission, may
from dicom_node.web.secret_tokens import is_same
from dicom_node.web.sign_in import Visitor
from dicom_node.web.site import Site, TheSite

LIVE = "X-Live"
"""Header of what a page asks by itself, which is no sign that anybody is there."""

_bearer = HTTPBearer(auto_error=False, description="A token made by `dicom-node web-token add`.")


class SignInRequiredError(Exception):
    """Nobody is signed in, or the session has ended."""


class ForbiddenError(Exception):
    """The user may not do this."""


class TokenRequiredError(Exception):
    """The request of a program carries no token that is known."""


def cookie_name(site: Site) -> str:
    """Return the name of the session's cookie; behind TLS one that no other host can set (RFC 6265bis, 4.1.3)."""
    return "__Host-dicom-node" if site.settings.web.https else "dicom-node"


def find_visitor(request: Request, site: TheSite) -> Visitor:
    """Return who is signed in; `SignInRequiredError` where nobody is."""
    token = request.cookies.get(cookie_name(site), "")
    visitor = site.sign_in.recognise(token, touch=LIVE not in request.headers) if token else None
    if visitor is None:
        raise SignInRequiredError
    return replace(visitor, address=address_of(request))


def address_of(request: Request) -> str:
    """Return whence a request comes; empty where nobody knows."""
    return request.client.host if request.client else ""


def _permitted(permission: Permission) -> Callable[[Visitor], Visitor]:
    def check(visitor: Annotated[Visitor, Depends(find_visitor)]) -> Visitor:
        if not may(visitor.user.role, permission):
            raise ForbiddenError
        return visitor

    return check


def _find_program(
    request: Request, site: TheSite, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Visitor:
    visitor = site.sign_in.recognise_program(credentials.credentials) if credentials else None
    if visitor is None:
        if credentials:
            site.sign_in.note_refusal("", address_of(request))
        raise TokenRequiredError
    return replace(visitor, address=address_of(request))


def _permitted_program(permission: Permission) -> Callable[[Visitor], Visitor]:
    def check(visitor: Annotated[Visitor, Depends(_find_program)]) -> Visitor:
        if not may(visitor.user.role, permission):
            raise ForbiddenError
        return visitor

    return check


def check_form(visitor: Annotated[Visitor, Depends(find_visitor)], form_token: Annotated[str, Form()] = "") -> None:
    """Refuse a form that no page of this session has made: another site's."""
    if not is_same(form_token, visitor.form_token):
        raise ForbiddenError


AnyUser = Annotated[Visitor, Depends(_permitted(Permission.SEE_STUDIES))]
Reader = Annotated[Visitor, Depends(_permitted(Permission.SEE_PATIENTS))]
Operator = Annotated[Visitor, Depends(_permitted(Permission.OPERATE))]
Administrator = Annotated[Visitor, Depends(_permitted(Permission.ADMINISTER))]
AnyProgram = Annotated[Visitor, Depends(_permitted_program(Permission.SEE_STUDIES))]
ReadingProgram = Annotated[Visitor, Depends(_permitted_program(Permission.SEE_PATIENTS))]
OwnForm = Depends(check_form)
"""For `dependencies` of whatever changes something."""
