"""The audit trail: who sent what and when, what which model analysed, what went where. It holds no patient data.

An append-only file of JSON lines for each day (`trail`), and the same as DICOM audit messages (PS3.15 A.5) to a syslog
server (`messages`, `syslog`, `forwarder`) where one is configured. The file is the queue of what is still to be sent:
a slow or dead server delays nothing, and nothing is dropped while it is away.
"""

from dicom_node.audit.trail import AuditEvent, AuditTrail, PersonAction, running_application
from dicom_node.audit.transfers import Transfers

__all__ = ["AuditEvent", "AuditTrail", "PersonAction", "Transfers", "running_application"]
