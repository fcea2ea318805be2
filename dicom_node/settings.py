"""The configuration file, read once into frozen values that are passed as arguments.

Units are in the names: `_s` seconds, `_mb` 10**6 bytes, `_bytes` bytes, `_days` days.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, model_validator

from dicom_node.errors import ConfigurationError

_DEFAULT_BUNDLES = Path(__file__).resolve().parent.parent / "models" / "bundles"


def _validate_ae_title(value: str) -> str:
    """Accept 1 to 16 characters of the default repertoire, no backslash, no control character (PS3.5 6.2, VR AE)."""
    title = value.strip(" ")
    if not 1 <= len(title) <= 16 or "\\" in title or not all(" " <= character <= "~" for character in title):
        message = "an AE title has 1 to 16 printable ASCII characters and no backslash"
        raise ValueError(message)
    return title


AETitle = Annotated[str, AfterValidator(_validate_ae_title)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSettings(_Table):
    """`[node]`: who this node is and where it keeps its data."""

    ae_title: AETitle
    host: str = "127.0.0.1"
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


class Sender(_Table):
    """`[[senders]]`: an application entity that may send to this node."""

    ae_title: AETitle
    networks: tuple[IPvAnyNetwork, ...] = ()
    """Addresses it may come from; empty: from any."""


class Destination(_Table):
    """`[[destinations]]`: an archive that gets the results."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
    ae_title: AETitle
    host: str
    port: Port
    connection_timeout_s: Seconds = 10
    response_timeout_s: Seconds = 60
    retry_first_s: Seconds = 5
    """Wait before the first retry; doubled each time."""
    retry_longest_s: Seconds = 600
    """Longest wait between two tries; retries go on for ever."""


class ReceiveSettings(_Table):
    """`[receive]`: limits of the receiver."""

    processes: Annotated[int, Field(ge=1, le=16)] = 2
    pin_to_cores: bool = True
    maximum_associations: Annotated[int, Field(ge=1, le=256)] = 32
    maximum_associations_per_address: Annotated[int, Field(ge=1, le=256)] = 32
    maximum_pdu_bytes: Annotated[int, Field(ge=4096, le=1_048_576)] = 131_072
    pdu_deadline_s: Seconds = 20
    acse_timeout_s: Seconds = 30
    dimse_timeout_s: Seconds = 60
    network_timeout_s: Seconds = 60
    minimum_free_mb: Annotated[float, Field(ge=0)] = 500
    maximum_object_mb: Annotated[float, Field(gt=0)] = 512


class CompletionSettings(_Table):
    """`[completion]`: when a study counts as complete."""

    quiet_s: Seconds = 10
    max_wait_s: Seconds = 900
    sweep_s: Seconds = 1
    """How often the worker looks for complete studies."""

    @model_validator(mode="after")
    def _check_order(self) -> "CompletionSettings":
        if self.max_wait_s < self.quiet_s:
            message = "max_wait_s must not be shorter than quiet_s"
            raise ValueError(message)
        return self


class ModelSettings(_Table):
    """`[models]`: which bundles analyse, and with what."""

    bundles: Path = _DEFAULT_BUNDLES
    runtime: Literal["onnx", "tensorflow"] = "onnx"
    threads: Annotated[int, Field(ge=1, le=64)] = 2


class WebSettings(_Table):
    """`[web]`: health and readiness over HTTP."""

    host: str = "127.0.0.1"
    port: Port = 8080


class DatabaseSettings(_Table):
    """`[database]`: where the state of studies is kept."""

    url: str = ""
    """SQLAlchemy URL; empty: SQLite inside the node's data folder."""
    workflow_url: str = ""
    """The durable workflow's own database; empty: SQLite inside the node's data folder."""


class Settings(_Table):
    """The whole configuration of a node."""

    node: NodeSettings
    senders: Annotated[tuple[Sender, ...], Field(min_length=1)]
    destinations: Annotated[tuple[Destination, ...], Field(min_length=1)]
    receive: ReceiveSettings = ReceiveSettings()
    completion: CompletionSettings = CompletionSettings()
    models: ModelSettings = ModelSettings()
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()

    @model_validator(mode="after")
    def _check_names(self) -> "Settings":
        names = [destination.name for destination in self.destinations]
        if len(set(names)) != len(names):
            message = "two destinations have the same name"
            raise ValueError(message)
        return self

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the node's state."""
        return self.database.url or f"sqlite:///{(self.node.data_dir / 'node.sqlite').resolve()}"

    @property
    def workflow_url(self) -> str:
        """SQLAlchemy URL of the durable workflow's checkpoints."""
        return self.database.workflow_url or f"sqlite:///{(self.node.data_dir / 'workflow.sqlite').resolve()}"


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
    location = list(first["loc"])
    table = f"[{location[0]}]" if location else "the whole file"
    if len(location) > 1 and isinstance(location[1], int):
        table = f"[[{location[0]}]] number {location[1] + 1}"
        location = location[1:]
    key = f", key {'.'.join(map(str, location[1:]))!r}" if len(location) > 1 else ""
    return f"table {table}{key}: {_SENTENCES.get(first['type'], first['msg'].removeprefix('Value error, '))}"


_SENTENCES = {
    "extra_forbidden": "is not known here; remove it or correct its spelling",
    "missing": "is required and missing",
    "too_short": "must not be empty (an empty list would let everybody in, or send results nowhere)",
}
