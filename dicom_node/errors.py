"""The errors of the node, a class for each thing that can be done about one.

NodeError
    ConfigurationError          refuse to start: exit code 2
    StudyError                  a visible "not analysed" result; a retry would not help
        UndecodableImageError
    DeliveryError               retry with back-off, visible
        AssociationError
"""

import traceback


class NodeError(Exception):
    """Something the node could not do. Messages hold no patient data."""


class ConfigurationError(NodeError):
    """The configuration is wrong; the message names file, table and key."""


class StudyError(NodeError):
    """The study or image cannot be analysed, and trying again would not help."""


class UndecodableImageError(StudyError):
    """The pixel data cannot be turned into an image."""


class DeliveryError(NodeError):
    """Results did not reach a destination."""


class AssociationError(DeliveryError):
    """No association with the destination: refused, rejected, aborted or timed out."""


def describe_unforeseen(error: BaseException) -> str:
    """Say where an unforeseen exception came from: its type and the frames, never its text, which may quote a name."""
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"
