"""Who may do what on the pages."""

from collections.abc import Mapping
from enum import StrEnum


class Permission(StrEnum):
    """One thing that a user may do."""

    SEE_STUDIES = "see studies"
    """States, findings and deliveries, by UID; statistics, conformance statement: no patient data."""
    SEE_PATIENTS = "see patients"
    """Names and identifiers, images, reports; upload; rules, whose tester quotes what headers say."""
    OPERATE = "operate"
    """Retry, force completion, send to a destination, results of uploads too; have the doctor look at the set-up."""
    ADMINISTER = "administer"
    """Add and remove users."""


class Role(StrEnum):
    """What a user is; each may do what the one before may, and more."""

    VIEWER = "viewer"
    """Sees how the node works, and no patient."""
    RADIOLOGIST = "radiologist"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    role: frozenset(tuple(Permission)[:count]) for count, role in enumerate(Role, start=1)
}
"""What each role may do."""


def may(role: str, permission: Permission) -> bool:
    """Tell whether a role has a permission; a role that is not known here has none."""
    return role in set(Role) and permission in PERMISSIONS[Role(role)]
