"""The values that travel along the line: receive, assemble, analyse, encode, deliver."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pydicom import Dataset

from inference.types import ModelIdentity, RadiographAnalysis, ShownRadiograph


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One received SOP instance: where its bytes are, and what its header says."""

    path: Path
    """Part 10 file with the bytes as they were sent."""
    header: Dataset
    """The data set without pixel data, file meta information included."""
    defect: str = ""
    """Why it cannot be analysed, whatever its header says; empty for a sound file."""
    names_revision: bool = True
    """Whether the study's state, and so the results' UIDs, are named after it; false of reports and other documents."""

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID."""
        return str(self.header.SOPInstanceUID)

    @property
    def sop_class_uid(self) -> str:
        """SOP Class UID."""
        return str(self.header.SOPClassUID)


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """An image that an archive lists."""

    sop_instance_uid: str
    series_instance_uid: str
    modality: str
    series_number: int | None = None
    instance_number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the archive said of a study when it was last asked."""

    archive: str
    """Its name in the configuration."""
    listed: int | None
    """Number of images that it lists; None: it could not be asked."""
    missing: tuple[ListedImage, ...] = ()
    """Those of them that have not come."""


@dataclass(frozen=True, kw_only=True)
class ResultReference:
    """A result object of an earlier version, which a later one takes the place of."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    version: int
    source_sop_instance_uid: str = ""
    """The image that it shows; empty for a report, which is about all of them."""
    language: str = ""
    """Of its texts; empty for what is in none."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A complete study in one state: a set of instances that is analysed as a whole."""

    study_instance_uid: str
    revision: str
    """Digest of the set of its images' SOP Instance UIDs, of all instances where none is an image, hexadecimal; then
    -2, -3, … where the same set is looked at again."""
    version: int
    """1 for the first revision of this study, then counting up."""
    created_at: datetime
    """When this revision was found complete; dates and times in results are taken from it. Aware, UTC."""
    instances: tuple[Instance, ...]
    """Sorted by series number, instance number, SOP Instance UID."""
    supersedes: tuple[ResultReference, ...] = ()
    """Results of earlier versions whose images are all part of this one; empty for the first."""
    standing: tuple[int, ...] = ()
    """Earlier versions that stay valid: some of their images are kept here no longer, and not part of this one."""
    expectation: Expectation | None = None
    """What an archive said that the study has; None where none was asked."""

    @property
    def look(self) -> str:
        """Which look at the same set of images this is, from the second one on; else empty."""
        return self.revision.partition("-")[2]


@dataclass(frozen=True, kw_only=True)
class ExcludedInstance:
    """An instance that was not given to the models, and why."""

    instance: Instance
    reason: str


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which instances of a study are radiographs to analyse."""

    radiographs: tuple[Instance, ...]
    excluded: tuple[ExcludedInstance, ...]


@dataclass(frozen=True, kw_only=True)
class AnalysedInstance:
    """A radiograph of the study with what the pipeline said about it."""

    instance: Instance
    shown: ShownRadiograph | None
    """None when its pixels could not be decoded; `analysis` then says so."""
    analysis: RadiographAnalysis


@dataclass(frozen=True, kw_only=True)
class StudyAnalysis:
    """The answer for a study: what results are encoded from."""

    study: Study
    images: tuple[AnalysedInstance, ...]
    excluded: tuple[ExcludedInstance, ...]
    models: tuple[ModelIdentity, ...]
    """Every model that was loaded, whether it spoke or not: results' UIDs are derived from them."""


class ResultKind(StrEnum):
    """What a result object is."""

    SUMMARY = "summary"
    """The answer for the study on one picture, before the overlays in their series."""
    SECONDARY_CAPTURE = "secondary capture"
    """Grad-CAM overlay on one radiograph."""
    ENCAPSULATED_PDF = "encapsulated pdf"
    """The report of the study."""
    STRUCTURED_REPORT = "structured report"
    """What was said of each image, for machines."""
    PRESENTATION_STATE = "presentation state"
    """The marks of the overlay, to be shown on the source itself."""
    KEY_OBJECTS = "key objects"
    """Which images have a finding."""
    REJECTION_NOTE = "rejection note"
    """Tells archives to show superseded results no longer."""


WORDED = frozenset({ResultKind.SUMMARY, ResultKind.SECONDARY_CAPTURE, ResultKind.ENCAPSULATED_PDF})
"""What is read by people, and made in the language of each destination; the others hold codes and short English."""


@dataclass(frozen=True, kw_only=True)
class ResultObject:
    """A result data set, valid and ready to send."""

    kind: ResultKind
    ds: Dataset
    """With file meta information; Explicit VR Little Endian."""
    source_sop_instance_uid: str = ""
    """The image that it shows; empty for what is about the study."""
    language: str = ""
    """Of its texts; empty for what is in none."""
