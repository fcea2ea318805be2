"""Passwords: kept as Argon2id hashes (RFC 9106), compared with patience for one another and never in the clear."""

import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dicom_node.errors import NodeError
from inference.phrases import Phrase

SHORTEST, LONGEST = 12, 200
"""Characters of a password."""

_HASHER = PasswordHasher()
_AT_ONCE = threading.BoundedSemaphore(2)
"""Each takes 64 MiB: whoever tries many at once must not take all memory."""
_NOBODYS = _HASHER.hash("nobody has this password")


class WeakPasswordError(NodeError):
    """The password is too short, too long or the user's name; the message says which."""


def hash_password(password: str, *, user: str) -> str:
    """Hash a new password, with a salt of its own.

    Raises
    ------
    WeakPasswordError
        It is shorter than 12 characters, longer than 200, or holds the name of its user.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise WeakPasswordError(
            Phrase("a password has {shortest} to {longest} characters", shortest=SHORTEST, longest=LONGEST)
        )
    if user.lower() in password.lower():
        raise WeakPasswordError(Phrase("a password does not hold the name of its user"))
    with _AT_ONCE:
        return _HASHER.hash(password)


def is_right(password: str, password_hash: str | None) -> bool:
    """Tell whether a password is the hashed one; None, for a user that does not exist, takes as long and is False."""
    if len(password) > LONGEST:
        return False
    try:
        with _AT_ONCE:
            return _HASHER.verify(password_hash or _NOBODYS, password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False
