"""Where a result comes from: its UIDs, its times, its sources, the models that spoke."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import groupby

from highdicom import ContributingEquipment
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID

from dicom_node import __version__
from dicom_node.encode.identification import declare_character_set, read_text
from dicom_node.identity import DISCLAIMER, MANUFACTURER, MANUFACTURER_MODEL_NAME, derive_result_uid, derive_uid
from dicom_node.languages import ENGLISH, Language
from dicom_node.values import WORDED, Instance, ResultKind, StudyAnalysis
from inference.types import ModelIdentity

IMPLEMENTATION_CLASS_UID = derive_uid("implementation class")
IMPLEMENTATION_VERSION_NAME = f"DICOMNODE_{__version__}"[:16]


_FURTHER_SERIES = {
    ResultKind.STRUCTURED_REPORT: 9200,
    ResultKind.PRESENTATION_STATE: 9300,
    ResultKind.KEY_OBJECTS: 9400,
    ResultKind.REJECTION_NOTE: 9500,
}
"""Series numbers that follow those of pictures and reports; each version counts from here."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What all results of one study revision share."""

    analysis: StudyAnalysis
    ae_title: str
    header: Dataset
    """Of the study's first instance."""
    language: Language = ENGLISH
    """Of what people read: pictures and pages. What stands in headers is English, for archives sort and hang by it."""
    is_part: bool = False
    """Whether the analysis is of one patient's instances only, of several patients under one study."""

    @property
    def created_at(self) -> datetime:
        """When the revision was complete, in the time zone of the source's own dates and times.

        That zone is the source's TimezoneOffsetFromUTC where it has one, which is then copied; otherwise the node's
        local zone, because dates and times without an offset are read as local (PS3.3 C.12.1.1.8).
        """
        offset = find_utc_offset(self.header)
        return self.analysis.study.created_at.astimezone(offset)

    def derive_uid(self, kind: ResultKind, *parts: str) -> UID:
        """Derive a UID from the kind of result, the set of sources, models, node, and language unless it is English.

        Sources are what the revision is named after. Whether a report or the like was there when the study was closed,
        or came later and is no part of the revision, a database that is made again does not know. And from which look
        at the same set it is, after the first: archives have what was said at that one.

        For a part of a revision also from the whole of it: what is said of one patient's images changes with a late
        image of another, although the sources are the same. Not from the version, which a database that is made again
        counts anew.
        """
        study = self.analysis.study
        naming = [instance for instance in study.instances if instance.names_revision] or study.instances
        sources = sorted(instance.sop_instance_uid for instance in naming)
        digests = sorted(model.digest for model in self.analysis.models)
        spoken = [self.language.code] if kind in WORDED and self.language.code != ENGLISH.code else []
        look = [f"look {study.look}"] if study.look else []
        whole = [study.revision] if self.is_part else []
        return derive_result_uid(kind, *sources, *digests, self.ae_title, *parts, *spoken, *look, *whole)


def find_utc_offset(header: Dataset) -> timezone | None:
    """Return the source's TimezoneOffsetFromUTC (PS3.3 C.12.1), or None where it has none or it is wrong."""
    match = re.fullmatch(r"([+-])(0\d|1[0-4])([0-5]\d)", read_text(header, "TimezoneOffsetFromUTC"))
    if match is None:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(-offset if match[1] == "-" else offset)


def add_general_series(ds: Dataset, origin: Origin, kind: ResultKind, description: str) -> None:
    """Add the attributes of a series of its own: one for each kind and each revision (PS3.3 C.7.3.1, C.24.1)."""
    version = origin.analysis.study.version
    ds.SeriesInstanceUID = origin.derive_uid(kind, "series")
    pictures_first = 9000 + 2 * version - (1 if kind is ResultKind.SECONDARY_CAPTURE else 0)
    ds.SeriesNumber = _FURTHER_SERIES[kind] + version if kind in _FURTHER_SERIES else pictures_first
    ds.SeriesDescription = description if version == 1 else f"{description}, version {version}"
    ds.SeriesDate = origin.created_at.strftime("%Y%m%d")
    ds.SeriesTime = origin.created_at.strftime("%H%M%S")


def add_general_equipment(ds: Dataset, origin: Origin) -> None:
    """Add the General Equipment Module (PS3.3 C.7.5.1)."""
    ds.Manufacturer, ds.ManufacturerModelName = MANUFACTURER, MANUFACTURER_MODEL_NAME
    ds.SoftwareVersions, ds.StationName = __version__, origin.ae_title


def add_equipment(ds: Dataset, origin: Origin) -> None:
    """Add the General Equipment and SC Equipment Modules (PS3.3 C.7.5.1, C.8.6.1)."""
    add_general_equipment(ds, origin)
    ds.ConversionType = "WSD"


def add_sop_common(ds: Dataset, origin: Origin, header: Dataset, models: Iterable[ModelIdentity]) -> None:
    """Add the SOP Common Module (PS3.3 C.12.1), file meta information included; patient and study are of `header`.

    The node itself is the first Contributing Equipment: by it a result is known again, whatever an archive overwrote.
    """
    declare_character_set(ds, header)
    ds.InstanceCreationDate = origin.created_at.strftime("%Y%m%d")
    ds.InstanceCreationTime = origin.created_at.strftime("%H%M%S")
    ds.InstanceCreatorUID = derive_result_uid("node", origin.ae_title)
    if find_utc_offset(origin.header) is not None:
        ds.TimezoneOffsetFromUTC = read_text(origin.header, "TimezoneOffsetFromUTC")
    ds.ContributingEquipmentSequence = [_describe_node(origin), *(_describe_model(model, origin) for model in models)]
    ds.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    ds.file_meta.SourceApplicationEntityTitle = origin.ae_title


def add_content_time(ds: Dataset, origin: Origin) -> None:
    """Add ContentDate and ContentTime."""
    ds.ContentDate = origin.created_at.strftime("%Y%m%d")
    ds.ContentTime = origin.created_at.strftime("%H%M%S")


def list_spoken(origin: Origin) -> tuple[ModelIdentity, ...]:
    """List every model that spoke on any image."""
    return tuple(dict.fromkeys(model for image in origin.analysis.images for model in image.analysis.models))


def add_common_instance_reference(ds: Dataset, instances: Sequence[Instance]) -> None:
    """Add the Common Instance Reference Module (PS3.3 C.12.2): the sources, series by series."""
    ordered = sorted(instances, key=_series_of)
    ds.ReferencedSeriesSequence = []
    for series_instance_uid, members in groupby(ordered, key=_series_of):
        series = Dataset()
        series.SeriesInstanceUID = series_instance_uid
        series.ReferencedInstanceSequence = [refer_to(member) for member in members]
        ds.ReferencedSeriesSequence.append(series)


def refer_to(instance: Instance, purpose: Code | None = None) -> Dataset:
    """Build an item that references `instance` (PS3.3 Table 10-11), with the purpose where there is one."""
    item = Dataset()
    item.ReferencedSOPClassUID = instance.sop_class_uid
    item.ReferencedSOPInstanceUID = instance.sop_instance_uid
    if purpose is not None:
        item.PurposeOfReferenceCodeSequence = [build_code(purpose)]
    return item


def build_code(code: Code) -> Dataset:
    """Build a code sequence item (PS3.3 Table 8.8-1)."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme_designator, code.meaning
    return item


def _series_of(instance: Instance) -> str:
    return read_text(instance.header, "SeriesInstanceUID")


def _describe_node(origin: Origin) -> Dataset:
    """Describe this software, as in the General Equipment Module of its results."""
    item = ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=MANUFACTURER_MODEL_NAME,
        software_versions=__version__,
        contribution_datetime=_write_utc(origin),
        contribution_description=f"Selected, decoded and encoded the images. {DISCLAIMER}",
    )
    item.StationName = origin.ae_title
    return item


def _describe_model(model: ModelIdentity, origin: Origin) -> Dataset:
    """Describe a model as the IHE AI Results profile does: equipment that processed, named and versioned.

    The device UID is derived from the digest of the exported model: it changes with the model's bytes.
    """
    item = ContributingEquipment(
        manufacturer=MANUFACTURER,
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        manufacturer_model_name=_fit(model.name, 64),
        software_versions=_fit(model.version, 64),
        contribution_datetime=_write_utc(origin),
        contribution_description=_fit(f"{model.task} model, SHA-256 {model.digest}. {DISCLAIMER}", 1024),
    )
    item.DeviceUID = derive_uid("model", model.digest)
    return item


def _write_utc(origin: Origin) -> str:
    return origin.analysis.study.created_at.astimezone(UTC).strftime("%Y%m%d%H%M%S+0000")


def _fit(text: str, longest: int) -> str:
    """Cut a manifest's text to what its element holds; a name that is cut ends in a digest of the whole."""
    if len(text) <= longest:
        return text or "unnamed"
    return f"{text[: longest - 9]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"
