"""Signing in: name and password to a session, with a limit for wrong ones."""

import hashlib
import math
import re
import time
from dataclasses import dataclass

from dicom_node.audit import AuditEvent, AuditTrail, PersonAction
from dicom_node.errors import NodeError
from dicom_node.settings import WebSettings
from dicom_node.store import Accounts, WebUser
from dicom_node.web.passwords import hash_password, is_right
from dicom_node.web.roles import Role
from dicom_node.web.secret_tokens import derive_form_token, digest, draw_token
from inference.phrases import Phrase

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_WINDOW_S = 300
_PER_ACCOUNT, _PER_ADDRESS = 5, 30
"""Wrong passwords within the window: for one account from one address, and from one address for all."""
_SEEN_EVERY_S = 60
"""A session in use is written down this often at most."""


class UserNameError(NodeError):
    """The name cannot be that of a user."""


class TooManyAttemptsError(NodeError):
    """Too many wrong passwords; the next may be tried after `wait_s` seconds."""

    def __init__(self, wait_s: int) -> None:
        super().__init__(f"too many wrong passwords; try again in {wait_s} seconds")
        self.wait_s = wait_s


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who asks for a page."""

    user: WebUser
    form_token: str = ""
    """What every form of the session must carry; empty for a program with a token of its own."""
    address: str = ""
    """Whence the request came: the browser's machine, or a proxy that is none of `[web] proxies`."""


class SignIn:
    """Sessions of users."""

    def __init__(self, accounts: Accounts, settings: WebSettings, trail: AuditTrail) -> None:
        self._accounts = accounts
        self._settings = settings
        self._trail = trail

    def sign_in(self, name: str, password: str, address: str) -> str | None:
        """Begin a session and return its secret; None where name or password is wrong, whichever it is.

        Raises
        ------
        TooManyAttemptsError
            So many were wrong lately that this one is not even looked at.
        """
        now = time.time()
        account = _key("account", name, address)
        limits = {account: _PER_ACCOUNT, _key("address", address): _PER_ADDRESS}
        oldest = self._accounts.begin_attempt(limits, since=now - _WINDOW_S, now=now)
        if oldest is not None:
            self.note_refusal("", address)
            raise TooManyAttemptsError(max(1, math.ceil(oldest + _WINDOW_S - now)))
        user = self._accounts.find_user(name)
        if not is_right(password, user.password_hash if user else None) or user is None:
            # The name that was typed may be a password in the wrong field, or a patient's.
            self.note_refusal(user.name if user else "", address)
            return None
        self._accounts.forgive_attempts(account, at=now)
        self._accounts.forget_sessions(**self._limits(now))
        token = draw_token()
        self._accounts.begin_session(digest(token), user.name, now)
        self._note(user.name, PersonAction.SIGN_IN, address)
        return token

    def recognise(self, token: str, *, touch: bool = True) -> Visitor | None:
        """Return whose session this is; None where it has ended. With `touch` it lives on."""
        now = time.time()
        limits = self._limits(now)
        found = self._accounts.find_session(
            digest(token), begun_after=limits["begun_before"], seen_after=limits["seen_before"]
        )
        if found is None:
            return None
        user, seen_at = found
        if touch and now - seen_at > min(_SEEN_EVERY_S, self._settings.session_idle_s / 10):
            self._accounts.touch_session(digest(token), now)
        return Visitor(user=user, form_token=derive_form_token(token))

    def recognise_program(self, token: str) -> Visitor | None:
        """Return whose program this is; None where the token is none."""
        user = self._accounts.find_token(digest(token))
        return None if user is None else Visitor(user=user)

    def end(self, token: str, visitor: Visitor) -> None:
        """End a session."""
        self._accounts.end_session(digest(token))
        self._note(visitor.user.name, PersonAction.SIGN_OUT, visitor.address)

    def note_refusal(self, name: str, address: str) -> None:
        """Note in the audit trail that somebody could not be signed in; no name where it is no user's."""
        event, action = AuditEvent.USER_AUTHENTICATION, PersonAction.SIGN_IN_REFUSED
        self._trail.alert(event, user=name, host=address, action=action)

    def _note(self, name: str, action: PersonAction, address: str) -> None:
        self._trail.note(AuditEvent.USER_AUTHENTICATION, user=name, host=address, action=action)

    def _limits(self, now: float) -> dict[str, float]:
        settings = self._settings
        return {"begun_before": now - settings.session_longest_s, "seen_before": now - settings.session_idle_s}


def build_user(name: str, password: str, role: Role) -> WebUser:
    """Build a user with a hashed password.

    Raises
    ------
    UserNameError
        The name is not made of small letters, digits and `. _ @ -`, or too long.
    WeakPasswordError
        The password is too short, too long or holds the name.
    """
    if _NAME.fullmatch(name) is None:
        raise UserNameError(
            Phrase("a user's name has 1 to 64 small letters, digits and . _ @ -, a letter or digit first")
        )
    return WebUser(name=name, role=role, password_hash=hash_password(password, user=name), changed_at=time.time())


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
