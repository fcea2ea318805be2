"""The configuration file, read once into frozen values that are passed as arguments.

Units are in the names: `_s` seconds, `_mb` 10**6 bytes, `_bytes` bytes, `_days` days. Each table is a class here.
"""

from dicom_node.settings.alerts import AlertSettings
from dicom_node.settings.audit import AuditSettings
from dicom_node.settings.configuration import Settings, load_settings
from dicom_node.settings.node import DatabaseSettings, NodeSettings, WebSettings
from dicom_node.settings.peers import Archive, Destination, Proof, Sender
from dicom_node.settings.retention import RetentionSettings
from dicom_node.settings.rules import ROUTINE, Action, Condition, Images, Operator, Rule
from dicom_node.settings.stages import (
    MOST_ASSOCIATIONS,
    AnalysisSettings,
    CompletionSettings,
    HeaderPolicy,
    ModelSettings,
    ReceiveSettings,
    ReconcileSettings,
    ResultSettings,
)
from dicom_node.settings.tls import TLSFiles, TLSSettings

__all__ = [
    "MOST_ASSOCIATIONS",
    "ROUTINE",
    "Action",
    "AlertSettings",
    "AnalysisSettings",
    "Archive",
    "AuditSettings",
    "CompletionSettings",
    "Condition",
    "DatabaseSettings",
    "Destination",
    "HeaderPolicy",
    "Images",
    "ModelSettings",
    "NodeSettings",
    "Operator",
    "Proof",
    "ReceiveSettings",
    "ReconcileSettings",
    "ResultSettings",
    "RetentionSettings",
    "Rule",
    "Sender",
    "Settings",
    "TLSFiles",
    "TLSSettings",
    "WebSettings",
    "load_settings",
]
