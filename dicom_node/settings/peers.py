"""Who sends to this node, and whom it asks and sends to: `[[senders]]`, `[[archives]]`, `[[destinations]]`."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, IPvAnyNetwork, StrictFloat, field_validator

from dicom_node.languages import LanguageCode
from dicom_node.settings.table import AETitle, Certificate, Host, Port, Seconds, Table
from dicom_node.settings.tls import OptionalTLS


class Sender(Table):
    """`[[senders]]`: an application entity that may send to this node."""

    ae_title: AETitle
    networks: tuple[IPvAnyNetwork, ...] = ()
    """Addresses it may come from; empty: from any."""
    certificate: Certificate = ""
    """SHA-256 fingerprint or subject (RFC 4514) of the certificate it must show; empty: any that `[tls]` trusts."""
    archive: str = ""
    """Name of the archive or destination that is asked what a study holds that came from here; empty: none."""


class Archive(Table):
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


OptionalArchive = Annotated[Archive | None, BeforeValidator(lambda value: value or None)]
"""In the configuration file the name of one of `[[archives]]`, or an empty text for None."""


class Proof(StrEnum):
    """Whether a destination must prove in one way that it keeps what it was sent."""

    WHEN_OFFERED = "when offered"
    """It is asked; where it cannot answer, that is stated, and without other proof the files of the study are kept."""
    REQUIRED = "required"
    """Without this proof a result is parked, which is an alarm."""
    NEVER = "never"
    """It is not asked; where both ways are so, its Success is believed."""


class Encoding(StrEnum):
    """In what form a destination gets the results."""

    SECONDARY_CAPTURE = "secondary capture"
    """Summary and overlays: every viewer shows them."""
    REPORT = "report"
    """The PDF."""
    STRUCTURED_REPORT = "structured report"
    """Comprehensive 3D SR, TID 1500: for machines, and viewers that draw its boxes."""
    PRESENTATION_STATE = "presentation state"
    """Grayscale Softcopy Presentation States: boxes, arrow and answer on the source itself."""
    KEY_OBJECTS = "key objects"
    """Key Object Selection of the images with a finding."""


DEFAULT_ENCODINGS = (Encoding.SECONDARY_CAPTURE, Encoding.REPORT)
"""What every viewer shows. OHIF opens an SR without a box as an empty pane and no presentation state at all."""


class Destination(Archive):
    """`[[destinations]]`: an archive that gets the results."""

    results: tuple[Encoding, ...] = DEFAULT_ENCODINGS
    """What it gets; Secondary Captures always."""
    language: LanguageCode | Literal[""] = ""
    """Of summary, overlays and report; empty: that of `[results]`."""
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
    commitment_at: OptionalArchive = None
    """Which application entity is asked for storage commitment; None: the one that gets the results."""
    verify_at: OptionalArchive = None
    """Which one is searched; None: the one that gets the results."""

    @field_validator("results")
    @classmethod
    def _check_results(cls, results: tuple[Encoding, ...]) -> tuple[Encoding, ...]:
        if Encoding.SECONDARY_CAPTURE not in results:
            raise ValueError('must hold "secondary capture": it is what every viewer shows')
        return tuple(dict.fromkeys(results))

    @property
    def is_believed(self) -> bool:
        """Whether its Success is proof enough: it is asked for no other."""
        return self.commitment is self.verify is Proof.NEVER

    @property
    def commitment_archive(self) -> Archive:
        """Who is asked for storage commitment."""
        return self.commitment_at or self

    @property
    def verify_archive(self) -> Archive:
        """Who is searched for results."""
        return self.verify_at or self


def give_archives_to_destinations(tables: Any) -> Any:
    """Put the archive itself where a destination names one of `[[archives]]`, so that it carries all that is asked.

    Raises
    ------
    ValueError
        Where none has that name.
    """
    if not isinstance(tables, dict) or not isinstance(tables.get("destinations"), list | tuple):
        return tables
    archives = {one.get("name"): one for one in tables.get("archives", ()) if isinstance(one, dict)}
    return {**tables, "destinations": [_with_archives(one, archives) for one in tables["destinations"]]}


def _with_archives(table: Any, archives: dict[Any, Any]) -> Any:
    keys = ("commitment_at", "verify_at")
    named = {key: table[key] for key in keys if table.get(key)} if isinstance(table, dict) else {}
    for key, name in named.items():
        if name not in archives:
            raise ValueError(f"table [[destinations]], key {key!r}: no [[archives]] has the name {name!r}")
    return {**table, **{key: archives[name] for key, name in named.items()}} if named else table
