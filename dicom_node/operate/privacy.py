"""What the doctor asks about privacy: whether others can read the data folder, and whether the audit trail gets out."""

from collections.abc import Iterator

from dicom_node.audit import AuditTrail
from dicom_node.audit.forwarder import build_sender, read_status
from dicom_node.errors import NodeError, describe_failure
from dicom_node.operate.finding import Finding
from dicom_node.settings import Settings

_FOR_OTHERS = 0o077


def check_privacy(settings: Settings) -> Iterator[Finding]:
    """Check that nobody but the node's user can enter the data folder."""
    folder = settings.node.data_dir
    if folder.exists() and folder.stat().st_mode & _FOR_OTHERS:
        remedy = f"chmod 700 {folder}"
        says = f"{folder} holds patient data and can be entered by others than its owner"
        yield Finding(subject="data folder", ok=False, says=says, remedy=remedy)


def check_syslog(settings: Settings) -> Iterator[Finding]:
    """Check that the syslog server can be reached, where the audit trail goes to one."""
    server = read_status(AuditTrail(settings.node.audit_dir, settings.node.ae_title), settings.audit).syslog
    try:
        sender = build_sender(settings.audit)
        if sender is None:
            return
        sender.connect()
        sender.close()
    except (OSError, NodeError, ValueError) as error:  # ValueError: a name that is none
        says = f"{server}: {describe_failure(error)}"
        yield Finding(subject="syslog server", ok=False, says=says, remedy="check [audit], [tls] and the server")
        return
    # Nobody answers a datagram.
    says = "takes a TLS connection" if settings.audit.tls else "has an address; whether it listens cannot be asked"
    yield Finding(subject="syslog server", ok=True, says=f"{server} {says}")
