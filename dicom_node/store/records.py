"""What the rows say, as values. None of them holds patient data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from dicom_node.languages import LanguageCode
from dicom_node.values import Expectation


class InstanceRole(StrEnum):
    """What a received instance is to the node."""

    IMAGE = "image"
    """An image: part of the study's revision."""
    OTHER = "other"
    """Kept and listed, but its arrival starts no new analysis (reports, presentation states, …)."""
    OWN_RESULT = "own result"
    """A result of this software that came back: ignored."""


class Admission(StrEnum):
    """What became of a received instance."""

    NEW = "new"
    DUPLICATE = "duplicate"
    """The same instance with the same bytes is kept already, or was until retention removed it."""
    CONFLICT = "conflict"
    """An instance with this UID but other bytes, or of another study, is kept already."""


class RevisionState(StrEnum):
    """How far a revision of a study has come."""

    QUEUED = "queued"
    """Found complete; the workflow will take it."""
    ANALYSING = "analysing"
    DELIVERING = "delivering"
    """Results are encoded and on disk."""
    DONE = "done"
    """Every destination has every result, proven as far as it can prove it."""
    EXCLUDED = "excluded"
    """A rule of the configuration says that it is not analysed: there are no results."""
    FAILED = "failed"
    """A step failed in a way that retries do not mend; an operator must look."""
    SUPERSEDED = "superseded"
    """A later version that holds all its images is the one to go by: this one was never made, or never delivered."""


ENDED = (RevisionState.DONE, RevisionState.EXCLUDED, RevisionState.SUPERSEDED)
"""States in which nothing is to be done for a revision any more, by the node or by an operator."""


class DeliveryState(StrEnum):
    """How far one result object has come on its way to one destination."""

    PENDING = "pending"
    """To be sent, now or again."""
    SENT = "sent"
    """Answered with Success or a warning; whether the archive keeps it is not proven yet."""
    DELIVERED = "delivered"
    """Proven as far as the destination's settings ask and its archive can."""
    PARKED = "parked"
    """Nothing more is tried until an operator says so: a retry alone would not change the answer. Never deleted."""
    LEFT_OUT = "left out"
    """The destination does not accept objects of this class, and has the answer in another form.

    Or it has a later version, which answers for the same images. Of a rejection note: the destination has not proven
    that it has the new results, so the old ones stay in sight; or it has none of the old ones.
    """


SETTLED = (DeliveryState.DELIVERED, DeliveryState.LEFT_OUT)
"""The states in which nothing is to be done, by node or operator."""


@dataclass(frozen=True, kw_only=True)
class ReceivedInstance:
    """The row of one received instance."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str
    path: str
    """Relative to the spool."""
    sha256: str
    """Of the data set's bytes as sent, without preamble and file meta information."""
    size: int
    role: InstanceRole
    received_at: float
    """Unix time in seconds."""
    removed_at: float | None = None
    """When retention removed its file, Unix time in seconds; None while the file is kept."""


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One state of a study: a set of instances that is analysed as a whole."""

    study_instance_uid: str
    digest: str
    version: int
    created_at: float
    state: RevisionState
    instances: tuple[ReceivedInstance, ...]
    expectation: Expectation | None = None
    """What an archive said that the study has; None where none was asked."""

    @property
    def created(self) -> datetime:
        """When the revision was found complete; aware, UTC."""
        return datetime.fromtimestamp(self.created_at, UTC)


@dataclass(frozen=True, kw_only=True)
class UnmadeRevision:
    """A revision without results yet."""

    study_instance_uid: str
    digest: str
    attempt: int
    """Number of its present workflow, from 1."""
    changed_at: float


@dataclass(frozen=True, kw_only=True)
class DueDelivery:
    """A destination that lacks results of a revision, and whose time has come."""

    study_instance_uid: str
    digest: str
    destination: str
    tries: int
    """Tries begun so far."""


@dataclass(frozen=True, kw_only=True)
class StoredResult:
    """The row of one encoded result object."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    kind: str
    path: str
    """Relative to the results folder."""
    source_sop_instance_uid: str = ""
    """The image that it shows; empty for what is about the study."""
    language: str = ""
    """In which language its texts are; empty for what is in none."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a destination gets of a result set."""

    kinds: frozenset[str]
    language: LanguageCode

    def choose(self, made: Sequence[StoredResult]) -> list[str]:
        """Return the SOP Instance UIDs that it gets; in another language where there is nothing in its own."""
        languages = dict.fromkeys(row.language for row in made if row.language)
        spoken = self.language if self.language in languages else next(iter(languages), "")
        return [row.sop_instance_uid for row in made if row.kind in self.kinds and row.language in {"", spoken}]


@dataclass(frozen=True, kw_only=True)
class EarlierVersion:
    """A version before another one, with its results."""

    version: int
    superseded: bool
    """Whether all its images are part of the later one, and so in its results; else it stays valid beside it."""
    results: tuple[StoredResult, ...]


@dataclass(frozen=True, kw_only=True)
class OpenStudy:
    """A study with instances that belong to no revision yet."""

    study_instance_uid: str
    first_open_at: float
    last_received_at: float
    forced: bool
    senders: tuple[str, ...] = ()
    """AE titles that its instances came from."""
    asked_at: float | None = None
    """When an archive was last asked what it holds of the study, Unix time; None: not yet."""
    expectation: Expectation | None = None
    """What it said, against what has come by now."""


@dataclass(frozen=True, kw_only=True)
class RemovableStudy:
    """A study whose files retention may remove."""

    study_instance_uid: str
    files: int
    """Received files that are kept of it."""
    size: int
    """Of their data sets, in bytes."""


@dataclass(frozen=True, kw_only=True)
class UnprovenFiles:
    """Studies whose files are kept because a destination took their results and cannot prove that it has them."""

    destination: str
    studies: int


@dataclass(frozen=True, kw_only=True)
class UndeliveredResult:
    """A result that a destination does not provably have yet."""

    study_instance_uid: str
    destination: str
    state: DeliveryState
    created_at: float
    """When its revision was found complete, Unix time in seconds."""


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How far the fetching of a study is that an archive lists."""

    archive: str
    study_instance_uid: str
    related_instances: int | None
    """How many instances the archive said it has, when it was last looked at; None where it does not say."""
    is_whole: bool
    """Whether everything that was to come had come."""
    tries: int = 0
    next_try_at: float = 0.0
    """Unix time in seconds; of what was given up, when it was last compared with what has come."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was said about one image of a revision."""

    sop_instance_uid: str
    decision: str
    region: str | None
    probability: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class ImageStatistic:
    """What statistics keep of one image: nothing about the patient."""

    sop_instance_uid: str
    decision: str
    region: str | None = None
    """The region that the image shows; None where none was recognised."""
    probability: float | None = None
    """Of a fracture, calibrated; None where no fracture model spoke."""
    reason: str = ""
    """Why it was not analysed, in words that many images share; empty where it was."""
    region_model: str | None = None
    """Name and version; None where it did not speak."""
    fracture_model: str | None = None
    scope_distance: float | None = None
    """How far it lies from the radiographs that the models know; above 1 is outside scope."""


@dataclass(frozen=True, kw_only=True)
class DestinationStatus:
    """How far one destination is with the results of one revision."""

    destination: str
    objects: int
    pending: int
    """Objects that are to be sent, now or again."""
    parked: int
    """Objects that wait for an operator."""
    sent: int
    """Objects that C-STORE was answered with Success or a warning for."""
    committed: int
    """Objects that the archive has vouched for by storage commitment."""
    verified: int
    """Objects that C-FIND has found in the right study of the right patient."""
    attempts: int
    """Most attempts that any of its objects took."""
    detail: str
    """What was last said that is no plain success."""
    left_out: int = 0
    """Objects in forms that it does not accept."""


@dataclass(frozen=True, kw_only=True)
class ObjectStatus:
    """How far one result object is on its way to one destination. Times are Unix times in seconds, None: not yet."""

    destination: str
    sop_instance_uid: str
    kind: str
    """Value of a `ResultKind`."""
    state: DeliveryState
    sent_at: float | None
    """When C-STORE was answered with Success or a warning."""
    committed_at: float | None
    """When the archive vouched for it by storage commitment."""
    verified_at: float | None
    """When C-FIND found it in the right study of the right patient."""
    detail: str
    """What was last said that is no plain success."""


@dataclass(frozen=True, kw_only=True)
class UnprovenResult:
    """A result object that was sent, and what proof there is that the archive keeps it."""

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    path: str
    """Relative to the results folder."""
    sent_at: float
    committed_at: float | None
    verified_at: float | None
    transaction_uid: str | None
    """The storage commitment transaction that is open; None: none is."""
    asked_at: float | None
    asks: int
    """Storage commitment transactions begun since it was sent."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Results that a destination does not take, for one reason."""

    destination: str
    detail: str
    objects: int
    studies: int
    since: float


@dataclass(frozen=True, kw_only=True)
class RevisionStatus:
    """What an operator wants to know about one revision."""

    study_instance_uid: str
    digest: str
    version: int
    state: RevisionState
    reason: str
    created_at: float
    changed_at: float
    last_received_at: float
    images: int
    findings: tuple[Finding, ...]
    destinations: tuple[DestinationStatus, ...]
    objects: tuple[ObjectStatus, ...]
    """Each object for each destination, in the order of both."""
    expectation: Expectation | None = None
    """What an archive said that the study has; None where none was asked."""
