"""What the node knows about studies, instances, results and deliveries. Holds no patient data.

One SQLAlchemy URL: SQLite with a write-ahead log by default, PostgreSQL when the node outgrows one machine. The rows of
instances can be rebuilt from the spool, which stays the truth about what was received.
"""

from dicom_node.store.accounts import Accounts, WebToken, WebUser
from dicom_node.store.expectations import describe_expectation
from dicom_node.store.records import (
    Admission,
    Alarm,
    DeliveryState,
    DestinationStatus,
    DueDelivery,
    EarlierVersion,
    Finding,
    InstanceRole,
    OpenStudy,
    ReceivedInstance,
    RemovableStudy,
    Retrieval,
    Revision,
    RevisionState,
    RevisionStatus,
    StoredResult,
    UndeliveredResult,
    UnmadeRevision,
    UnprovenResult,
)
from dicom_node.store.store import Store, revision_digest
from dicom_node.store.worklist import RECEIVING, Event, WorklistEntry, WorklistQuery

__all__ = [
    "RECEIVING",
    "Accounts",
    "Admission",
    "Alarm",
    "DeliveryState",
    "DestinationStatus",
    "DueDelivery",
    "EarlierVersion",
    "Event",
    "Finding",
    "InstanceRole",
    "OpenStudy",
    "ReceivedInstance",
    "RemovableStudy",
    "Retrieval",
    "Revision",
    "RevisionState",
    "RevisionStatus",
    "Store",
    "StoredResult",
    "UndeliveredResult",
    "UnmadeRevision",
    "UnprovenResult",
    "WebToken",
    "WebUser",
    "WorklistEntry",
    "WorklistQuery",
    "describe_expectation",
    "revision_digest",
]
