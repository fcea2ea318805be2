"""The configuration file, read once into frozen values that are passed as arguments.

Units are in the names: `_s` seconds, `_mb` 10**6 bytes, `_bytes` bytes, `_days` days.
"""

import re
import tomllib
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    StrictBool,
    StrictFloat,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.audit_settings import AuditSettings
from dicom_node.errors import ConfigurationError
from dicom_node.retention_settings import RetentionSettings
from dicom_node.tls_settings import OptionalTLS, TLSSettings, give_files_to_archives

_DEFAULT_BUNDLES = Path(__file__).resolve().parent.parent / "models" / "bundles"
MOST_ASSOCIATIONS = 256
"""The highest limit that may be configured."""
_EVERY_ADDRESS = {"0.0.0.0", "::"}  # noqa: S104  # what an administrator may write, not what is bound


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
DatabaseURL = Annotated[str, AfterValidator(_validate_database_url)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSettings(_Table):
    """`[node]`: who this node is and where it keeps its data."""

    ae_title: AETitle
    host: Host = "127.0.0.1"
    port: Port = 11112
    data_dir: Path = Path("var")
    grace_s: Seconds = 20
    """How long a stopping process may finish what it is doing."""

    @property
    def spool_dir(self) -> Path:
        """Where received bytes are kept, a folder per study."""
        return self.data_dir / "spool"

    @property
    def results_dir(self) -> Path:
        """Where encoded results wait for delivery, a folder per study and revision."""
        return self.data_dir / "results"

    @property
    def audit_dir(self) -> Path:
        """Where the audit trail is kept, a file per day."""
        return self.data_dir / "audit"

    @property
    def heartbeat(self) -> Path:
        """The empty file that the worker touches at every sweep."""
        return self.data_dir / "worker.alive"


class Sender(_Table):
    """`[[senders]]`: an application entity that may send to this node."""

    ae_title: AETitle
    networks: tuple[IPvAnyNetwork, ...] = ()
    """Addresses it may come from; empty: from any."""
    certificate: Annotated[str, AfterValidator(_validate_certificate)] = ""
    """SHA-256 fingerprint or subject (RFC 4514) of the certificate it must show; empty: any that `[tls]` trusts."""
    archive: str = ""
    """Name of the archive or destination that is asked what a study holds that came from here; empty: none."""


class Archive(_Table):
    """An application entity that this node requests associations with, under a name of the site's own."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    ae_title: AETitle
    host: Host
    port: Port
    connection_timeout_s: Seconds = 10
    response_timeout_s: Seconds = 60
    tls: OptionalTLS = None
    """Files for DICOM TLS; None: plain TCP. In the configuration file true stands for those of `[tls]`."""
    tls_name: str = ""
    """Name that the archive's certificate must hold; empty: `host`."""


class Proof(StrEnum):
    """Whether a destination must prove in one way that it keeps what it was sent."""

    WHEN_OFFERED = "when offered"
    """It is asked; where it cannot answer, that is stated."""
    REQUIRED = "required"
    """Without this proof a result is parked, which is an alarm."""
    NEVER = "never"


class Destination(Archive):
    """`[[destinations]]`: an archive that gets the results."""

    retry_first_s: Seconds = 5
    """Wait before the first retry; doubled each time."""
    retry_longest_s: Seconds = 600
    """Longest wait between two tries; retries go on for ever."""
    commitment: Proof = Proof.WHEN_OFFERED
    """Storage commitment: the archive vouches for what it keeps."""
    commitment_deadline_s: Seconds = 3600
    """How long a report is waited for before the archive is asked again."""
    report_wait_s: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 1
    """How long the association is kept for archives that report on the one they were asked on."""
    verify: Proof = Proof.WHEN_OFFERED
    """C-FIND: the result is found in the right study of the right patient."""
    verify_deadline_s: Seconds = 600
    """How long after sending a result may be looked for in vain before it counts as lost."""


class ReceiveSettings(_Table):
    """`[receive]`: limits of the receiver."""

    processes: Annotated[StrictInt, Field(ge=1, le=16)] = 2
    pin_to_cores: StrictBool = True
    maximum_associations: Annotated[StrictInt, Field(ge=1, le=MOST_ASSOCIATIONS)] = 64
    """Of all processes that share `data_dir` together."""
    maximum_associations_per_address: Annotated[StrictInt, Field(ge=1, le=MOST_ASSOCIATIONS)] = 32
    maximum_pdu_bytes: Annotated[StrictInt, Field(ge=4096, le=1_048_576)] = 131_072
    pdu_deadline_s: Seconds = 20
    acse_timeout_s: Seconds = 30
    dimse_timeout_s: Seconds = 60
    network_timeout_s: Seconds = 60
    minimum_free_mb: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 500
    maximum_object_mb: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = 512


class CompletionSettings(_Table):
    """`[completion]`: when a study counts as complete."""

    quiet_s: Seconds = 10
    max_wait_s: Seconds = 900
    sweep_s: Seconds = 1
    """How often the worker looks for complete studies."""
    modalities: Modalities = ("CR", "DX", "RG")
    """Of the series that an archive is expected to send: others are neither waited for nor fetched."""

    @model_validator(mode="after")
    def _check_order(self) -> "CompletionSettings":
        if self.max_wait_s < self.quiet_s:
            raise ValueError("max_wait_s must not be shorter than quiet_s")
        return self


class ReconcileSettings(_Table):
    """`[reconcile]`: which archives are searched for studies that they never sent."""

    archives: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of archives or destinations."""
    every_s: Seconds = 600
    hours: Annotated[StrictFloat, Field(gt=0, le=24 * 31, allow_inf_nan=False)] = 24
    """How far back studies are looked at."""
    at_once: Annotated[StrictInt, Field(ge=1, le=1000)] = 20
    """How many studies are fetched in one search at most, one after the other."""
    tries: Annotated[StrictInt, Field(ge=1, le=100)] = 5
    """How often one study is fetched before a person must look."""


class HeaderPolicy(StrEnum):
    """What is done with an image that shows another region than its header names; it is flagged in any case."""

    TRUST_PIXELS = "trust pixels"
    """The model of the region that the image shows answers."""
    TRUST_HEADER = "trust header"
    """The model of the region that the header names answers, also where the image leaves the region in doubt."""
    ABSTAIN = "abstain"
    """The image is not analysed."""


class ModelSettings(_Table):
    """`[models]`: which bundles analyse, and with what."""

    bundles: Path = _DEFAULT_BUNDLES
    runtime: Literal["onnx", "tensorflow"] = "onnx"
    threads: Annotated[StrictInt, Field(ge=1, le=64)] = 2
    when_header_disagrees: HeaderPolicy = HeaderPolicy.TRUST_PIXELS
    """About the region of the body: what the image shows, and what its header names."""


class AnalysisSettings(_Table):
    """`[analysis]`: limits of the processes that decode images and run the models."""

    decode_limit_s: Seconds = 60
    """How long one image may take to be decoded."""
    decode_memory_mb: Annotated[StrictFloat, Field(ge=100, allow_inf_nan=False)] = 2000
    """How much memory decoding one image may take."""
    models_limit_s: Seconds = 120
    """How long the models may take over one image."""
    tries_per_image: Annotated[StrictInt, Field(ge=1, le=10)] = 2
    """How often an image is tried that crashes the process working on it, or keeps it longer than its limit."""
    crashes_per_study: Annotated[StrictInt, Field(ge=1, le=20)] = 4
    """How often one study may do so, or take the worker itself down, before the rest of it is left alone."""


class ResultSettings(_Table):
    """`[results]`: what is made of an answer."""

    reject_superseded: StrictBool = False
    """Whether a later version comes with a rejection note (IHE IOCM) for the results it supersedes."""


class WebSettings(_Table):
    """`[web]`: health and readiness over HTTP."""

    host: Host = "127.0.0.1"
    port: Port = 8080


class DatabaseSettings(_Table):
    """`[database]`: where the state of studies is kept."""

    url: DatabaseURL = ""
    """SQLAlchemy URL; empty: SQLite inside the node's data folder."""
    workflow_url: DatabaseURL = ""
    """The durable workflow's own database; empty: SQLite inside the node's data folder."""


class Settings(_Table):
    """The whole configuration of a node."""

    node: NodeSettings
    tls: TLSSettings | None = None
    senders: Annotated[tuple[Sender, ...], Field(min_length=1)]
    destinations: Annotated[tuple[Destination, ...], Field(min_length=1)]
    archives: tuple[Archive, ...] = ()
    """`[[archives]]`: archives that are asked and fetched from, and get no results."""
    reconcile: ReconcileSettings | None = None
    receive: ReceiveSettings = ReceiveSettings()
    completion: CompletionSettings = CompletionSettings()
    models: ModelSettings = ModelSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    results: ResultSettings = ResultSettings()
    retention: RetentionSettings = RetentionSettings()
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()
    audit: AuditSettings = AuditSettings()

    @model_validator(mode="before")
    @classmethod
    def _give_files_to_archives(cls, tables: object) -> object:
        return give_files_to_archives(tables)

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
        asked = [("[[senders]]", "archive", sender.archive) for sender in self.senders if sender.archive]
        asked += [("[reconcile]", "archives", name) for name in (self.reconcile.archives if self.reconcile else ())]
        for table, key, name in asked:
            if name not in self.archives_by_name:
                raise ValueError(
                    f"table {table}, key {key!r}: no [[destinations]] or [[archives]] has the name {name!r}"
                )
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
        raise ConfigurationError(f"{path}: {_describe(error)}") from error


def _describe(error: ValidationError) -> str:
    """Put the first finding into one sentence: table, key, what is wrong."""
    first = error.errors()[0]
    said = _SENTENCES.get(first["type"], first["msg"].removeprefix("Value error, "))
    location = list(first["loc"])
    if not location:
        return said  # what concerns several tables names them itself
    table = f"[{location[0]}]"
    if len(location) > 1 and isinstance(location[1], int):
        table = f"[[{location[0]}]] number {location[1] + 1}"
        location = location[1:]
    key = f", key {'.'.join(map(str, location[1:]))!r}" if len(location) > 1 else ""
    return f"table {table}{key}: {said}"


_SENTENCES = {
    "extra_forbidden": "is not known here; remove it or correct its spelling",
    "missing": "is required and missing",
    "too_short": "must not be empty (an empty list would let everybody in, or send results nowhere)",
    "string_too_short": "must not be empty",
    "int_type": "must be a whole number, without quotes",
    "float_type": "must be a number, without quotes",
    "bool_type": "must be true or false, without quotes",
    "finite_number": "must be a number that is not inf or nan",
}
