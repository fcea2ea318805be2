"""Radiographs that are no DICOM: PNG and JPEG pictures, wrapped as CR so that they go the same way as any other.

A wrapped picture is a valid data set, and plainly no patient's: its name is Picture^Imported, its identifiers are
derived from the file, and what a picture does not tell (date, side, view) is left empty. That is why it is a CR: a DX
must state the size of its pixels in mm and its orientation (type 1), and they would have to be invented.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    ComputedRadiographyImageStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from dicom_node.analyse.codestream import MAX_PIXELS
from dicom_node.analyse.pixels import undecodable
from dicom_node.errors import UndecodableImageError
from dicom_node.identity import derive_uid

_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG"}


@dataclass(frozen=True, kw_only=True)
class ImportedImage:
    """A file of the user's, and the DICOM file it is read from."""

    source: Path
    """What the user named."""
    path: Path
    """Part 10 file: the same, or the picture wrapped as CR."""


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that is no image."""

    path: Path
    reason: str
    bystander: bool = False
    """Something else that lies in a folder the user named: neither DICOM nor PNG nor JPEG, and not named itself."""


def read_images(paths: Iterable[Path], *, into: Path) -> Iterator[ImportedImage | SkippedFile]:
    """Go through files and folders in the order given, each folder in the order of its names; leave no file out.

    What a file is, its first bytes say, not its name. Pictures are wrapped and written below the folder `into`.
    """
    for path in paths:
        members = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        for source in members:
            try:
                yield ImportedImage(source=source, path=_part10(source, into))
            except UndecodableImageError as error:
                bystander = path != source and not _is_dicom_or_picture(source)
                yield SkippedFile(path=source, reason=f"Not an image: {error}.", bystander=bystander)


def _is_dicom_or_picture(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return True  # it may well be one: rather name it once too often
    return start[128:] == b"DICM" or any(start.startswith(magic) for magic in _MAGIC)


def _part10(source: Path, into: Path) -> Path:
    with undecodable("the file cannot be read"), source.open("rb") as file:
        start = file.read(132)
    if start[128:] == b"DICM":
        _check_header(source)
        return source
    ds = wrap_picture(source)
    path = into / f"{ds.SOPInstanceUID}.dcm"
    into.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def _check_header(path: Path) -> None:
    with undecodable("the file cannot be read as DICOM"):
        header = dcmread(path, stop_before_pixels=True)
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            raise UndecodableImageError("it is a DICOMDIR, a table of contents")
        if not header.get("StudyInstanceUID") or not header.get("SOPInstanceUID"):
            raise UndecodableImageError("it does not say which study and instance it is")


def wrap_picture(path: Path, *, study_instance_uid: str | None = None, instance_number: int = 1) -> Dataset:
    """Wrap a PNG or JPEG as a Computed Radiography Image (PS3.3 A.2), upright by its EXIF orientation.

    Colour becomes luminance; 8 bits stay as they are, 16 bits are shown between their percentiles.

    Parameters
    ----------
    path
        The picture: 8 or 16 bits, grey or colour, bone bright.
    study_instance_uid
        The study it belongs to, whose images then share one PatientID; None for a study of its own.
    instance_number
        Its place in that study.

    Raises
    ------
    UndecodableImageError
        It is no PNG or JPEG, is broken, or is too large.
    """
    with undecodable("the file cannot be read"):
        content = path.read_bytes()
    kind = next((kind for magic, kind in _MAGIC.items() if content.startswith(magic)), None)
    if kind is None:
        raise UndecodableImageError("it is neither DICOM nor PNG nor JPEG")
    with undecodable("the picture could not be decoded"):
        pixels = _decode_picture(content)
    digest = hashlib.sha256(content + path.name.encode()).hexdigest()
    ds = _identified(digest, study_instance_uid, instance_number)
    _add_cr(ds)
    _add_pixels(ds, pixels)
    if kind == "JPEG":
        ds.LossyImageCompression, ds.LossyImageCompressionMethod = "01", "ISO_10918_1"
        ds.LossyImageCompressionRatio = f"{max(1.0, pixels.nbytes / len(content)):.2f}"
    return ds


def _decode_picture(content: bytes) -> NDArray[np.uint8] | NDArray[np.uint16]:
    with Image.open(BytesIO(content), formats=("PNG", "JPEG")) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UndecodableImageError(f"it has more than {MAX_PIXELS // 1_000_000} million pixels")
        deep = image.mode.startswith("I")  # 16 bits
        upright = ImageOps.exif_transpose(image)
        return np.asarray(upright).astype(np.uint16) if deep else np.asarray(upright.convert("L"))


def _identified(digest: str, study_instance_uid: str | None, instance_number: int) -> Dataset:
    study = study_instance_uid or derive_uid("picture study", digest)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = ComputedRadiographyImageStorage
    ds.SOPInstanceUID = derive_uid("picture", digest, study)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    # Patient, General Study, General Series
    ds.PatientName = "Picture^Imported"
    ds.PatientID = f"PICTURE-{hashlib.sha256(study.encode()).hexdigest()[:12].upper()}"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.StudyInstanceUID = study
    ds.StudyDate = ds.StudyTime = ds.AccessionNumber = ds.ReferringPhysicianName = ""
    ds.StudyID = "1"
    ds.StudyDescription = "Imported picture"
    ds.Modality = "CR"
    ds.SeriesInstanceUID = derive_uid("picture series", study)
    ds.SeriesNumber, ds.InstanceNumber = 1, instance_number
    return ds


def _add_cr(ds: Dataset) -> None:
    # General Equipment, CR Series (C.8.1.1)
    ds.Manufacturer = ds.BodyPartExamined = ds.ViewPosition = ds.Laterality = ""
    # General Image (C.7.6.1), CR Image (C.8.1.2). No Burned In Annotation: without it the image may show a name or not
    ds.ContentDate = ds.ContentTime = ds.PatientOrientation = ""
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.DerivationDescription = "Wrapped from a picture file"
    ds.LossyImageCompression = "00"


def _add_pixels(ds: Dataset, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    # Image Pixel (C.7.6.3), VOI LUT (C.11.2)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated == 8 else "OW"
    if ds.BitsAllocated == 8:
        ds.WindowCenter, ds.WindowWidth = "128", "256"
