"""The pages that every page leads to: one line each, shown to those who may see it."""

from dataclasses import dataclass

from dicom_node.web.roles import Permission, may
from inference.phrases import Phrase


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the navigation."""

    path: str
    label: str
    permission: Permission = Permission.SEE_STUDIES


ENTRIES: tuple[Entry, ...] = (
    Entry(path="/", label=Phrase("Worklist")),
    Entry(path="/upload", label=Phrase("Upload"), permission=Permission.SEE_PATIENTS),
    Entry(path="/statistics", label=Phrase("Statistics")),
    Entry(path="/rules", label=Phrase("Rules"), permission=Permission.SEE_PATIENTS),
    Entry(path="/doctor", label=Phrase("Doctor"), permission=Permission.OPERATE),
    Entry(path="/conformance", label=Phrase("Conformance")),
    Entry(path="/account", label=Phrase("Account")),
    Entry(path="/users", label=Phrase("Users"), permission=Permission.ADMINISTER),
)


def entries_for(role: str) -> list[Entry]:
    """List what a role may see."""
    return [entry for entry in ENTRIES if may(role, entry.permission)]
