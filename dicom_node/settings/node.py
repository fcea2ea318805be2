"""Where the node lives: `[node]`, `[web]`, `[database]`."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, IPvAnyNetwork, StrictBool, StrictFloat

from dicom_node.languages import LanguageCode
from dicom_node.settings.table import AETitle, DatabaseURL, Host, Port, Seconds, Table


class NodeSettings(Table):
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
    def uploads_dir(self) -> Path:
        """Where uploaded files lie while they are worked on, and no longer."""
        return self.data_dir / "uploads"

    @property
    def heartbeat(self) -> Path:
        """The empty file that the worker touches at every sweep."""
        return self.data_dir / "worker.alive"

    @property
    def receiver_silence(self) -> Path:
        """The empty file that is there while the receiver does not answer; see `dicom_node.silence`."""
        return self.data_dir / "receiver.silent"

    def search_silence(self, archive: str) -> Path:
        """Return the file that is there while an archive cannot be searched for what it never sent."""
        return self.data_dir / f"search-{archive}.silent"

    @property
    def first_run_file(self) -> Path:
        """Holds the token that makes the first user of the pages; there only until there is one."""
        return self.data_dir / "first-run-token"


class WebSettings(Table):
    """`[web]`: the pages, health and readiness over HTTP."""

    host: Host = "127.0.0.1"
    port: Port = 8080
    language: LanguageCode | Literal[""] = ""
    """Of the pages; empty: each browser's own, or that of the results where there are none in it."""
    https: StrictBool = False
    """Whether browsers reach it through a proxy that speaks TLS: cookies are then for TLS only."""
    proxies: tuple[IPvAnyNetwork, ...] = ()
    """Proxies that are believed when they say (`X-Forwarded-For`) whose request they pass on."""
    session_idle_s: Seconds = 1800
    """A session ends after so long without a page."""
    session_longest_s: Seconds = 43200
    """And after so long in any case."""
    largest_upload_mb: Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)] = 100
    """Of one upload, all its files together."""


class DatabaseSettings(Table):
    """`[database]`: where the state of studies is kept."""

    url: DatabaseURL = ""
    """SQLAlchemy URL; empty: SQLite inside the node's data folder."""
    workflow_url: DatabaseURL = ""
    """The durable workflow's own database; empty: SQLite inside the node's data folder."""
