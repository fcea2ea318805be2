"""What somebody at this machine does, in the audit trail."""

import getpass

from dicom_node.audit import AuditEvent, AuditTrail
from dicom_node.settings import Settings


def note_here(settings: Settings, event: AuditEvent, **facts: object) -> None:
    """Write a line of the audit trail in the name of whoever runs this command."""
    trail = AuditTrail(settings.node.audit_dir, settings.node.ae_title)
    trail.note(event, user=getpass.getuser(), **facts)
