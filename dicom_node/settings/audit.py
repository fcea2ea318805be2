"""`[audit]` of the configuration file: where the audit trail goes besides the data folder."""

from typing import Annotated

from pydantic import Field, StrictInt, model_validator

from dicom_node.settings.table import Table
from dicom_node.settings.tls import OptionalTLS


class AuditSettings(Table):
    """`[audit]`: a syslog server that gets DICOM audit messages (PS3.15 A.5)."""

    syslog_host: str = ""
    """Empty: none."""
    syslog_port: Annotated[StrictInt, Field(ge=0, le=65535)] = 0
    """0: 514 for UDP, 6514 for TLS."""
    tls: OptionalTLS = None
    """Files for RFC 5425; None: UDP (RFC 5426). In the configuration file true stands for those of `[tls]`."""
    tls_name: str = ""
    """Name that the server's certificate must hold; empty: `syslog_host`."""

    @model_validator(mode="after")
    def _check_host(self) -> "AuditSettings":
        if (self.tls is not None or self.syslog_port) and not self.syslog_host:
            raise ValueError(
                "table [audit], key 'syslog_host': is required with tls or syslog_port; nothing is sent else"
            )
        return self
