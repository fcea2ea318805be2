"""`[alerts]` of the configuration file: who is told when something is wrong, and what counts as wrong."""

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, StringConstraints, model_validator

from dicom_node.settings.table import Days, Seconds, Table


def _validate_url(value: str) -> str:
    """Accept nothing, or an address of the web without a user or password in it."""
    if not value:
        return value
    try:
        url = urlsplit(value)
        is_one = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_one = False
    if not is_one or url.username is not None:
        raise ValueError("is no http:// or https:// address, or holds a user; a token belongs into webhook_token_file")
    return value


URL = Annotated[str, AfterValidator(_validate_url)]
MailAddress = Annotated[str, StringConstraints(pattern=r"^$|^[^@\s<>,;]+@[^@\s<>,;]+$")]


class AlertSettings(Table):
    """`[alerts]`: a webhook, e-mail, both or neither."""

    webhook_url: URL = ""
    """Gets a JSON POST; empty: none."""
    webhook_token_file: str = ""
    """File with a token that is sent as `Authorization: Bearer`; empty: none."""
    smtp_host: str = ""
    """Mail server; empty: no e-mail."""
    smtp_port: Annotated[StrictInt, Field(ge=0, le=65535)] = 0
    """0: 587, 465 with "tls", 25 with "none"."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str = ""
    """Empty: no login."""
    smtp_password_file: str = ""
    ca: str = ""
    """PEM file with the authorities of webhook and mail server; empty: those of the system."""
    mail_from: MailAddress = ""
    mail_to: tuple[Annotated[MailAddress, Field(min_length=1)], ...] = ()
    every_s: Seconds = 60
    """How often the node looks."""
    repeat_hours: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 24
    """After this an alert that still holds is told again; 0: never."""
    settle_s: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 300
    """How long all must be well before it is told that it is over."""
    timeout_s: Seconds = 10
    """How long webhook and mail server may take for each answer; for all of them ten times as long.

    A mail server has that time once more for each recipient.
    """
    stuck_after_s: Seconds = 1800
    """A study may wait for its analysis this long."""
    undelivered_after_s: Seconds = 1800
    """A destination may take no results, or an archive of `[reconcile]` not be searched, for this long."""
    free_mb: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 2000
    """Less free disk than this is wrong."""
    silent_s: Seconds = 120
    """Worker and receiver may be silent this long."""
    drift_days: Days = 28
    """The last days are compared with what the models were measured on; 0: they are not."""

    @model_validator(mode="after")
    def _check_mail(self) -> "AlertSettings":
        if self.smtp_host and not (self.mail_from and self.mail_to):
            raise ValueError("table [alerts], key 'smtp_host': needs mail_from and mail_to")
        if self.mail_to and not self.smtp_host:
            raise ValueError("table [alerts], key 'mail_to': needs smtp_host; without it nobody gets mail")
        if bool(self.smtp_user) != bool(self.smtp_password_file):
            raise ValueError("table [alerts], key 'smtp_user': belongs together with smtp_password_file")
        return self

    @model_validator(mode="after")
    def _keep_secrets(self) -> "AlertSettings":
        """Refuse to send a secret in the clear, but to this machine itself."""
        url = urlsplit(self.webhook_url)
        if self.webhook_token_file and url.scheme != "https" and not _is_this_machine(url.hostname or ""):
            raise ValueError("table [alerts], key 'webhook_token_file': needs an https:// webhook_url")
        if self.smtp_user and self.smtp_security == "none" and not _is_this_machine(self.smtp_host):
            raise ValueError("table [alerts], key 'smtp_user': needs smtp_security 'starttls' or 'tls'")
        return self


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
