"""The pages that every page leads to: one line each, shown to those who may see it."""

from dataclasses import dataclass

from dicom_node.web.roles import Permission, may


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A line of the navigation."""

    path: str
    label: str
    permission: Permission = Permission.SEE_STUDIES


ENTRIES: tuple[Entry, ...] = (
    Entry(path="/", label="Worklist"),
    Entry(path="/upload", label="Upload", permission=Permission.SEE_PATIENTS),
    Entry(path="/statistics", label="Statistics"),
    Entry(path="/rules", label="Rules", permission=Permission.SEE_PATIENTS),
    Entry(path="/doctor", label="Doctor", permission=Permission.OPERATE),
    Entry(path="/conformance", label="Conformance"),
    Entry(path="/account", label="Account"),
    Entry(path="/users", label="Users", permission=Permission.ADMINISTER),
)


def entries_for(role: str) -> list[Entry]:
    """List what a role may see."""
    return [entry for entry in ENTRIES if may(role, entry.permission)]
