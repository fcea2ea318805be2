"""The DICOM conformance statement of a node, made of its configuration and of what its code negotiates.

In the order of the template in PS3.2 (2024) annex N: overview, introduction, implementation model, services,
configuration, network communication, security, annexes.
"""

from dicom_node import __version__
from dicom_node.identity import DISCLAIMER, MANUFACTURER_MODEL_NAME
from dicom_node.operate.conformance.document import Section, write_html, write_html_body, write_markdown
from dicom_node.operate.conformance.network import describe_network, describe_overview
from dicom_node.operate.conformance.objects import describe_annexes
from dicom_node.operate.conformance.security import describe_configuration, describe_security
from dicom_node.operate.conformance.services import describe_model, describe_services
from dicom_node.settings import Settings

__all__ = ["build_statement", "write_html", "write_html_body", "write_markdown"]


def build_statement(settings: Settings) -> Section:
    """Build the conformance statement of the node that runs with this configuration."""
    introduction = Section(
        "Introduction",
        (
            (
                "Audience: those who connect this node with an archive or another sender. Made by `dicom-node"
                f" conformance` of version {__version__} for the configuration of this node; another configuration"
                " gives another statement."
            ),
            (
                "Terms are those of the DICOM Standard. SCU: Service Class User. SCP: Service Class Provider. AE:"
                f" Application Entity. {DISCLAIMER}"
            ),
        ),
    )
    return Section(
        f"DICOM Conformance Statement: {MANUFACTURER_MODEL_NAME} {__version__}, {settings.node.ae_title}",
        (
            describe_overview(settings),
            introduction,
            describe_model(settings),
            describe_services(settings),
            describe_configuration(settings),
            describe_network(settings),
            describe_security(settings),
            describe_annexes(settings),
        ),
    )
