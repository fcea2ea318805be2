"""The errors of the node, a class for each thing that can be done about one.

NodeError
    ConfigurationError          refuse to start: exit code 2
    StudyError                  a visible "not analysed" result; a retry would not help
        UndecodableImageError
        CageError               the process that worked on an image was lost; worth another try, not many
    DeliveryError               retry with back-off, visible
        AssociationError
            RejectedError           park: a person must look
    QueryError                  ask again later; the study goes on without the answer
    AlertError                  tell again later, by this channel alone
"""

import re
import traceback

from inference.phrases import Phrase

FILE_DAMAGED = Phrase("The stored file is missing or cannot be read.")
"""What is said of a file of the node's own, received or a result, that should be there."""
_UID = re.compile(r"[0-9.]{1,64}")


class NodeError(Exception):
    """Something the node could not do. Messages hold no patient data."""


class ConfigurationError(NodeError):
    """The configuration is wrong; the message names file, table and key."""


class StudyError(NodeError):
    """The study or image cannot be analysed, and trying again would not help."""


class UndecodableImageError(StudyError):
    """The pixel data cannot be turned into an image."""


class CageError(StudyError):
    """The process that worked on an image crashed or was stopped at a limit; the message says which."""


class DeliveryError(NodeError):
    """Results did not reach a destination."""


class AssociationError(DeliveryError):
    """No association with the destination: refused, rejected, aborted or timed out."""


class RejectedError(AssociationError):
    """The destination rejected the association for good: asking again would not change its mind."""


class QueryError(NodeError):
    """An archive did not answer a question, or did not send what it was asked to send."""


class AlertError(NodeError):
    """A webhook or mail server did not take an alert."""


def describe_unforeseen(error: BaseException) -> str:
    """Say where an unforeseen exception came from: its type and the frames, never its text, which may quote a name."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"


def describe_failure(error: Exception) -> str:
    """Say what went wrong in the system's words where it has any, without number and file name; else in its own."""
    said: str | None = getattr(error, "strerror", None)
    return said or str(error)


def describe_uid(value: str) -> str:
    """Return a UID for a log or the audit trail; where a sender put something else, say so: it might be a name."""
    return value if is_uid(value) else "(no UID)"


def is_uid(value: str) -> bool:
    """Tell whether a text is made as a UID is: digits and dots, 64 at most."""
    return _UID.fullmatch(value) is not None
