"""C-FIND as SCU (PS3.4 annex C): one question over an open association, and an answer that comes to an end."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association

from inference.phrases import Phrase

STUDY_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")
PATIENT_ROOT_FIND = UID("1.2.840.10008.5.1.4.1.2.1.1")
_PENDING = frozenset({0xFF00, 0xFF01})
"""Statuses of a response after which others come (PS3.4 Table C.4-1)."""

_MOST_MATCHES = 20_000
"""An answer that is longer is none: nothing that is asked for here has so many matches."""
_PATIENCE = 10
"""In time-outs: each response has one, and an archive that always sends one more must come to an end too."""


class EndlessAnswerError(Exception):
    """An archive went on answering; the association is aborted, since its rest would still be read."""


@dataclass(kw_only=True)
class Answer:
    """What an archive has answered to a C-FIND."""

    matches: list[Dataset] = field(default_factory=list)
    unreadable: int = 0
    """Number of matches that do not decode, and so are not among the others."""
    status: int | None = None
    """The final one; None: none came in time, or the association broke."""


def find(assoc: Association, model: UID, level: str, keys: Mapping[str, str]) -> Answer:
    """Ask for every match; empty `keys` are asked for, the others are matched (PS3.4 C.2.2.2).

    Raises
    ------
    EndlessAnswerError
        The answer found no end.
    """
    answer = Answer()
    try:
        for status, match in within_patience(assoc, assoc.send_c_find(build_identifier(level, keys), model)):
            answer.status = status.get("Status")
            if match is not None:
                answer.matches.append(match)
            elif answer.status in _PENDING:
                answer.unreadable += 1
            if len(answer.matches) + answer.unreadable > _MOST_MATCHES:
                raise _give_up(assoc, Phrase("was answered with more than {number} matches", number=_MOST_MATCHES))
    except RuntimeError:  # pynetdicom's way to say that the association is gone
        answer.status = None
    return answer


def build_identifier(level: str, keys: Mapping[str, str]) -> Dataset:
    """Build the identifier of a C-FIND or C-MOVE request; in UTF-8 where its keys need more than ASCII."""
    ds = Dataset()
    ds.QueryRetrieveLevel = level
    if not all(value.isascii() for value in keys.values()):
        ds.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


def within_patience(
    assoc: Association, responses: Iterator[tuple[Dataset, Dataset | None]]
) -> Iterator[tuple[Dataset, Dataset | None]]:
    """Pass the responses on; EndlessAnswerError where there are others after ten times the time-out of one."""
    end = time.monotonic() + _PATIENCE * (assoc.dimse_timeout or 0)
    for response in responses:
        if response[0].get("Status") in _PENDING and time.monotonic() > end:
            raise _give_up(assoc, Phrase("was answered with no end"))
        yield response


def _give_up(assoc: Association, trouble: str) -> EndlessAnswerError:
    assoc.abort()
    return EndlessAnswerError(trouble)
