"""What every table of the configuration file is made of: a frozen table, and keys that more than one of them has."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StringConstraints
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError


class Table(BaseModel):
    """A table of the configuration file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _validate_ae_title(value: str) -> str:
    """Accept 1 to 16 characters of the default repertoire, no backslash, no control character (PS3.5 6.2, VR AE)."""
    title = value.strip(" ")
    if not 1 <= len(title) <= 16 or "\\" in title or not all(" " <= character <= "~" for character in title):
        raise ValueError("an AE title has 1 to 16 printable ASCII characters and no backslash")
    return title


def _validate_database_url(value: str) -> str:
    """Accept nothing, or a URL that SQLAlchemy can open from several processes. Messages leave out its password."""
    if not value:
        return value
    try:
        url = make_url(value)
    except (SQLAlchemyError, ValueError) as error:
        raise ValueError("is no SQLAlchemy URL, such as sqlite:////var/lib/node.sqlite") from error
    if url.get_backend_name() not in {"sqlite", "postgresql"}:
        raise ValueError(f"names {url.drivername}; only sqlite and postgresql are known here")
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ValueError("must name a file: the processes of the node share it")
    try:
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except (SQLAlchemyError, ImportError) as error:
        raise ValueError(f"needs a driver for {url.drivername} that is not installed") from error
    if dialect.is_async:
        raise ValueError(f"names the asynchronous driver {url.drivername}; a synchronous one is needed")
    return value


def _validate_certificate(value: str) -> str:
    """Accept a SHA-256 fingerprint, with colons or without, or a subject such as CN=pacs,O=Hospital (RFC 4514)."""
    digits = value.replace(":", "").lower()
    if re.fullmatch(r"[0-9a-f]{64}", digits):
        return digits
    if value and "=" not in value:
        raise ValueError("is neither a SHA-256 fingerprint (64 hexadecimal digits) nor a subject such as CN=pacs")
    return value


AETitle = Annotated[str, AfterValidator(_validate_ae_title)]
Host = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Modalities = Annotated[tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z0-9_]{1,16}$")], ...], Field(min_length=1)]
Seconds = Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)]
Days = Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)]
Certificate = Annotated[str, AfterValidator(_validate_certificate)]
DatabaseURL = Annotated[str, AfterValidator(_validate_database_url)]
