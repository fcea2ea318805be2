"""What the node knows about studies, instances, results and deliveries. Holds no patient data.

One SQLAlchemy URL: SQLite with a write-ahead log by default, PostgreSQL when the node outgrows one machine. The rows of
instances can be rebuilt from the spool, which stays the truth about what was received.
"""

from dicom_node.store.accounts import Accounts, WebToken, WebUser
from dicom_node.store.alert_store import AlertKey, ToldAlert
from dicom_node.store.expectations import describe_expectation
from dicom_node.store.gauge_store import Backlog, Durations
from dicom_node.store.records import (
    ENDED,
    Admission,
    Alarm,
    DeliveryState,
    DestinationStatus,
    DueDelivery,
    EarlierVersion,
    Finding,
    ImageStatistic,
    InstanceRole,
    ObjectStatus,
    OpenStudy,
    Profile,
    ReceivedInstance,
    RemovableStudy,
    Retrieval,
    Revision,
    RevisionState,
    RevisionStatus,
    StoredResult,
    UndeliveredResult,
    UnmadeRevision,
    UnprovenFiles,
    UnprovenResult,
)
from dicom_node.store.rejection import NOTHING_TO_REJECT
from dicom_node.store.statistics_store import WEEK_S, ImageCount, VersionTime
from dicom_node.store.store import Store, revision_digest
from dicom_node.store.upgrade import look_at_schema
from dicom_node.store.worklist import Event, WorklistEntry
from dicom_node.store.worklist_query import RECEIVING, WorklistQuery

__all__ = [
    "ENDED",
    "NOTHING_TO_REJECT",
    "RECEIVING",
    "WEEK_S",
    "Accounts",
    "Admission",
    "Alarm",
    "AlertKey",
    "Backlog",
    "DeliveryState",
    "DestinationStatus",
    "DueDelivery",
    "Durations",
    "EarlierVersion",
    "Event",
    "Finding",
    "ImageCount",
    "ImageStatistic",
    "InstanceRole",
    "ObjectStatus",
    "OpenStudy",
    "Profile",
    "ReceivedInstance",
    "RemovableStudy",
    "Retrieval",
    "Revision",
    "RevisionState",
    "RevisionStatus",
    "Store",
    "StoredResult",
    "ToldAlert",
    "UndeliveredResult",
    "UnmadeRevision",
    "UnprovenFiles",
    "UnprovenResult",
    "VersionTime",
    "WebToken",
    "WebUser",
    "WorklistEntry",
    "WorklistQuery",
    "describe_expectation",
    "look_at_schema",
    "revision_digest",
]
