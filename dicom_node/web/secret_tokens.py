"""Secrets that are drawn, not thought of: of sessions, programs and the first run. 256 bits, known by their digest."""

import hashlib
import hmac
import secrets


def draw_token() -> str:
    """Draw a new secret."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return what is kept of a secret: SHA-256, hexadecimal. Enough for 256 random bits, which nobody can guess."""
    return hashlib.sha256(token.encode()).hexdigest()


def derive_form_token(session_token: str) -> str:
    """Derive what each form of a session carries (against cross-site request forgery): nobody else can."""
    return hmac.new(session_token.encode(), b"form", hashlib.sha256).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Compare two secrets in a time that does not tell how much of them is the same."""
    return hmac.compare_digest(one.encode(), other.encode())
