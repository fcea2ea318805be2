"""What a check of the doctor finds."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found."""

    subject: str
    ok: bool
    says: str
    remedy: str = ""
