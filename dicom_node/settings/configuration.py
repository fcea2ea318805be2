"""The configuration file, read once into frozen values that are passed as arguments."""

import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from dicom_node.errors import ConfigurationError
from dicom_node.settings.alerts import AlertSettings
from dicom_node.settings.audit import AuditSettings
from dicom_node.settings.node import DatabaseSettings, NodeSettings, WebSettings
from dicom_node.settings.peers import Archive, Destination, Sender, give_archives_to_destinations
from dicom_node.settings.retention import RetentionSettings
from dicom_node.settings.rules import Rule
from dicom_node.settings.stages import (
    AnalysisSettings,
    CompletionSettings,
    ModelSettings,
    ReceiveSettings,
    ReconcileSettings,
    ResultSettings,
)
from dicom_node.settings.table import Table
from dicom_node.settings.tls import TLSSettings, give_files_to_archives

_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104  # what an administrator may write, not what is bound


class Settings(Table):
    """The whole configuration of a node."""

    node: NodeSettings
    tls: TLSSettings | None = None
    senders: Annotated[tuple[Sender, ...], Field(min_length=1)]
    destinations: Annotated[tuple[Destination, ...], Field(min_length=1)]
    archives: tuple[Archive, ...] = ()
    """`[[archives]]`: archives that are asked and fetched from, and get no results."""
    reconcile: ReconcileSettings | None = None
    rules: tuple[Rule, ...] = ()
    receive: ReceiveSettings = ReceiveSettings()
    completion: CompletionSettings = CompletionSettings()
    models: ModelSettings = ModelSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    results: ResultSettings = ResultSettings()
    retention: RetentionSettings = RetentionSettings()
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()
    audit: AuditSettings = AuditSettings()
    alerts: AlertSettings = AlertSettings()

    @model_validator(mode="before")
    @classmethod
    def _give_what_is_named(cls, tables: object) -> object:
        return give_archives_to_destinations(give_files_to_archives(tables))

    @model_validator(mode="after")
    def _check_senders(self) -> "Settings":
        """Refuse a door that stands open: an AE title is a claim that anybody can make."""
        for number, sender in enumerate(self.senders, start=1):
            where = f"table [[senders]] number {number}, key"
            if sender.certificate and not self.has_incoming_tls:
                raise ValueError(f"{where} 'certificate': is never seen without [tls] and its incoming = true")
            if not (sender.networks or self.has_incoming_tls or _is_loopback(self.node.host)):
                raise ValueError(
                    f"{where} 'networks': is required where [node] host is {self.node.host}: a title is a mere claim;"
                    ' name the addresses it comes from, or set up [tls]; ["0.0.0.0/0", "::/0"] means everybody'
                )
        return self

    @model_validator(mode="after")
    def _check_names(self) -> "Settings":
        names = [destination.name for destination in self.destinations]
        if len(set(names)) != len(names):
            raise ValueError("table [[destinations]], key 'name': two destinations have the same name")
        if len(set(names + [archive.name for archive in self.archives])) != len(names) + len(self.archives):
            raise ValueError("table [[archives]], key 'name': another archive or destination has the same name")
        return self

    @model_validator(mode="after")
    def _check_archives(self) -> "Settings":
        archives: dict[str, str] = {}
        for number, sender in enumerate(self.senders, start=1):
            if sender.archive and archives.setdefault(sender.ae_title, sender.archive) != sender.archive:
                raise ValueError(
                    f"table [[senders]] number {number}, key 'archive': another sender {sender.ae_title} has"
                    f" {archives[sender.ae_title]!r}, and only one of them would be asked"
                )
        asked = [("[[senders]]", "archive", sender.archive) for sender in self.senders if sender.archive]
        asked += [("[reconcile]", "archives", name) for name in (self.reconcile.archives if self.reconcile else ())]
        for table, key, name in asked:
            if name not in self.archives_by_name:
                raise ValueError(
                    f"table {table}, key {key!r}: no [[destinations]] or [[archives]] has the name {name!r}"
                )
        return self

    @model_validator(mode="after")
    def _check_rules(self) -> "Settings":
        names = [rule.name for rule in self.rules]
        known = [destination.name for destination in self.destinations]
        for number, rule in enumerate(self.rules, start=1):
            where = f"table [[rules]] number {number} ({rule.name!r}), key"
            if names.index(rule.name) != number - 1:
                raise ValueError(f"{where} 'name': another rule has the same name")
            for name in rule.destinations:
                if name not in known:
                    raise ValueError(f"{where} 'destinations': no [[destinations]] has the name {name!r}")
        return self

    @model_validator(mode="after")
    def _check_ports(self) -> "Settings":
        hosts = {self.node.host, self.web.host}
        if self.node.port == self.web.port and (len(hosts) == 1 or hosts & _EVERY_ADDRESS):
            raise ValueError("table [web], key 'port': is the port of [node] too; each needs its own")
        return self

    @property
    def has_incoming_tls(self) -> bool:
        """Whether the DICOM port speaks TLS, and nothing else."""
        return self.tls is not None and self.tls.incoming

    @property
    def archives_by_name(self) -> dict[str, Archive]:
        """Whom this node may ask: archives and destinations."""
        return {archive.name: archive for archive in (*self.archives, *self.destinations)}

    @property
    def believed_destinations(self) -> frozenset[str]:
        """Names of the destinations whose Success is proof enough."""
        return frozenset(one.name for one in self.destinations if one.is_believed)

    @property
    def archives_by_sender(self) -> dict[str, str]:
        """Name of the archive that is asked about what a sender sends, by the sender's AE title."""
        return {sender.ae_title: sender.archive for sender in self.senders if sender.archive}

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the node's state."""
        return self.database.url or f"sqlite:///{(self.node.data_dir / 'node.sqlite').resolve()}"

    @property
    def workflow_url(self) -> str:
        """SQLAlchemy URL of the durable workflow's checkpoints."""
        return self.database.workflow_url or f"sqlite:///{(self.node.data_dir / 'workflow.sqlite').resolve()}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_settings(path: Path) -> Settings:
    """Read a configuration file; relative paths in it are relative to the working directory.

    Raises
    ------
    ConfigurationError
        In one sentence: file, table, key, and what is wrong with it.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from error
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_describe(error, table)}") from error


def _describe(error: ValidationError, tables: dict[str, Any]) -> str:
    """Put the first finding into one sentence: table, key, what is wrong."""
    first = error.errors()[0]
    said = _SENTENCES.get(first["type"], first["msg"].removeprefix("Value error, "))
    location = list(first["loc"])
    if not location:
        return said  # what concerns several tables names them itself
    table = f"[{location[0]}]"
    if len(location) > 1 and isinstance(location[1], int):
        table = f"[[{location[0]}]] number {location[1] + 1}"
        if location[0] == "rules" and isinstance(name := tables["rules"][location[1]].get("name"), str):
            table += f" ({name!r})"
        location = location[1:]
    key = f", key {'.'.join(map(str, location[1:]))!r}" if len(location) > 1 else ""
    return f"table {table}{key}: {said}"


_SENTENCES = {
    "extra_forbidden": "is not known here; remove it or correct its spelling",
    "missing": "is required and missing",
    "too_short": "must not be empty (an empty list would let everybody in, or send results nowhere)",
    "string_too_short": "must not be empty",
    "tuple_type": 'must be a list: a key as ["one", "two"], a table under double brackets, as [[senders]]',
    "ip_any_network": 'is no address, nor a network with zeros after its prefix, such as "192.0.2.0/24"',
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "finite_number": "must be a number that is not inf or nan",
}
