"""`[tls]` of the configuration file: the node's certificate, and whose certificates it trusts."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, StrictBool

from dicom_node.settings.table import Table


class TLSFiles(Table):
    """Who this node is to a peer, and which authorities vouch for the peer. Paths are read at every handshake."""

    certificate: Path
    """PEM: the node's certificate, then those between it and its authority."""
    key: Path
    """PEM, not encrypted; nobody but the node's user may read it."""
    ca: Path
    """PEM: certificates of the authorities that issue the peers' certificates."""
    minimum_version: Literal["1.2", "1.3"] = "1.2"


def _take_false_for_none(value: object) -> object:
    if isinstance(value, str | int) and value is not False:
        raise ValueError("must be true or false, without quotes")
    return None if value is False else value


OptionalTLS = Annotated[TLSFiles | None, BeforeValidator(_take_false_for_none)]
"""The key `tls` of a table: in the configuration file true stands for the files of `[tls]`, and false for None."""


class TLSSettings(TLSFiles):
    """`[tls]`: files for both directions, and whether the DICOM port speaks TLS."""

    incoming: StrictBool = True
    """Whether peers must come with TLS, and with a certificate; without it only destinations use these files."""


def give_files_to_archives(tables: Any) -> Any:
    """Put the files of `[tls]` where an archive says `tls = true`, so that it carries all that a connection needs.

    Raises
    ------
    ValueError
        Where an archive asks for TLS and there is no `[tls]`.
    """
    if not isinstance(tables, dict):
        return tables
    tls = tables.get("tls")
    return {name: _with_files(name, table, tls) if name != "tls" else table for name, table in tables.items()}


def _with_files(name: str, table: Any, tls: Any) -> Any:
    if isinstance(table, list | tuple):
        return [_with_files(name, one, tls) for one in table]
    if not isinstance(table, dict) or table.get("tls") is not True:
        return table
    if tls is None:
        raise ValueError(f"table [{name}], key 'tls': needs the table [tls] with certificate, key and ca")
    files = tls.model_dump() if isinstance(tls, TLSFiles) else tls
    return {**table, "tls": {key: value for key, value in files.items() if key != "incoming"}}
