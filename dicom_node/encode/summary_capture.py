"""Encode the summary of a study as a Secondary Capture Image: the first of the series of overlays."""

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from dicom_node.encode import provenance
from dicom_node.encode.identification import read_text
from dicom_node.encode.provenance import Origin
from dicom_node.encode.report.wording import is_image, summarise_study
from dicom_node.encode.secondary_capture import add_side, build_capture, describe_later_version, read_side
from dicom_node.encode.versions import list_predecessors
from dicom_node.identity import DISCLAIMER
from dicom_node.values import Instance, ResultKind
from inference.types import UInt8Array

NUMBER = 1
"""Its instance number; overlays follow."""


def encode_summary(origin: Origin, picture: UInt8Array) -> Dataset:
    """Encode `picture`, shape (rows, columns, 3) RGB; it has no geometry of any source."""
    uid = origin.derive_uid(ResultKind.SUMMARY)
    ds = build_capture(origin, origin.header, picture, sop_instance_uid=uid, number=NUMBER)
    sources = [one for one in origin.analysis.study.instances if is_image(one)]
    sources = [one for one in sources if read_text(one.header, "SeriesInstanceUID")]
    _add_general_image(ds, origin, sources)
    provenance.add_sop_common(ds, origin, origin.header, provenance.list_spoken(origin))
    if sources:
        provenance.add_common_instance_reference(ds, sources)
    return ds


def _add_general_image(ds: Dataset, origin: Origin, sources: Sequence[Instance]) -> None:
    """Add the General Image and General Reference Modules (PS3.3 C.7.6.1, C.12.4)."""
    ds.PatientOrientation = []  # type 2C: it shows no anatomy in any one direction
    add_side(ds, _gather_sides({read_side(one.header) for one in sources}))
    said = summarise_study(origin.analysis)
    later = describe_later_version(origin)
    ds.ImageComments = f"Summary: {said.sentence}.{later} {DISCLAIMER}"
    ds.DerivationDescription = f"{DISCLAIMER}{later} Table of what was said about each image of the study."
    predecessors = list_predecessors(origin.analysis.study, "", SecondaryCaptureImageStorage, origin.language)
    if references := [*map(provenance.refer_to, sources), *predecessors]:
        ds.ReferencedImageSequence = references


def _gather_sides(sides: set[str]) -> str:
    """Return the side that all images are of, B (both) where they are of left and right; empty where that is open."""
    if len(sides) == 1:
        return next(iter(sides))
    return "B" if {"L", "R"} <= sides or "B" in sides else ""
