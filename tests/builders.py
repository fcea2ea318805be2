"""Builders of the DICOM objects that tests send: valid by default, spoiled by keyword (`build_dx(PatientName="…")`).

A keyword is a DICOM keyword; its value replaces the default, and None deletes the element.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    UID,
    BasicTextSRStorage,
    ComputedRadiographyImageStorage,
    DigitalXRayImageStorageForPresentation,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

PixelArray = NDArray[np.uint8] | NDArray[np.uint16] | NDArray[np.int16]

SQUARE = (0.12, 0.20, 0.62, 0.72)
"""The planted square of the phantom: top, bottom, left, right as fractions of rows and columns."""


def draw_phantom(rows: int = 512, columns: int = 400) -> NDArray[np.float32]:
    """Draw a lower leg: air 0.05, soft tissue 0.35, two bones to 0.8, a square of 1.0 up on the right.

    Shape (rows, columns). Nothing about it is symmetric: a flip, a turn or a transposition moves the square.
    """
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    y, x = (y + 0.5) / rows, (x + 0.5) / columns
    picture = np.full((rows, columns), 0.05, np.float32)
    picture[np.abs(x - 0.5) < 0.34 - 0.08 * y] = 0.35
    for centre, half_width, brightness in ((0.42, 0.08, 0.80), (0.62, 0.035, 0.70)):
        across = np.abs(x - centre - 0.03 * np.sin(4 * y)) / half_width
        shaft = np.sqrt(np.clip(1 - across**2, 0, 1)) * (brightness - 0.35)
        picture = np.maximum(picture, np.where(across < 1, 0.35 + shaft, 0)).astype(np.float32)
    top, bottom, left, right = SQUARE
    picture[(y > top) & (y < bottom) & (x > left) & (x < right)] = 1.0
    return picture


def phantom(rows: int = 512, columns: int = 400, *, bits: int = 12) -> NDArray[np.uint16]:
    """Draw the phantom as stored values of `bits` bits, bone bright."""
    stored: NDArray[np.uint16] = np.rint(draw_phantom(rows, columns) * (2**bits - 1)).astype(np.uint16)
    return stored


def build_dx(pixels: PixelArray | None = None, **attributes: object) -> Dataset:
    """Build a valid Digital X-Ray Image - For Presentation (PS3.3 A.26), 12 bits unless `pixels` say otherwise."""
    ds = _patient_and_study(DigitalXRayImageStorageForPresentation, "DX")
    _dx_modules(ds)
    _image_pixel(ds, phantom() if pixels is None else pixels)
    ds.WindowCenter, ds.WindowWidth = _full_window(ds)
    return _with(ds, attributes)


def build_cr(pixels: PixelArray | None = None, **attributes: object) -> Dataset:
    """Build a valid Computed Radiography Image (PS3.3 A.2)."""
    ds = _patient_and_study(ComputedRadiographyImageStorage, "CR")
    ds.BodyPartExamined = "LEG"
    ds.ViewPosition = "AP"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientOrientation = ["L", "F"]
    ds.Laterality = "L"
    _image_pixel(ds, phantom(bits=10) if pixels is None else pixels)
    ds.WindowCenter, ds.WindowWidth = _full_window(ds)
    return _with(ds, attributes)


def build_sc(pixels: PixelArray | None = None, **attributes: object) -> Dataset:
    """Build a valid Secondary Capture Image (PS3.3 A.8): a digitised film unless keywords say otherwise."""
    ds = _patient_and_study(SecondaryCaptureImageStorage, "CR")
    ds.ConversionType = "DF"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientOrientation = ["L", "F"]
    ds.Laterality = "L"
    _image_pixel(ds, phantom(bits=8).astype(np.uint8) if pixels is None else pixels)
    return _with(ds, attributes)


def build_sr(**attributes: object) -> Dataset:
    """Build a valid Basic Text SR (PS3.3 A.35.1) that says one sentence."""
    ds = _patient_and_study(BasicTextSRStorage, "SR")
    ds.ContentDate, ds.ContentTime = ds.StudyDate, ds.StudyTime
    ds.ReferencedPerformedProcedureStepSequence = []
    ds.PerformedProcedureCodeSequence = []
    ds.ValueType = "CONTAINER"
    ds.ConceptNameCodeSequence = [_code("18748-4", "LN", "Diagnostic Imaging Report")]
    ds.ContinuityOfContent = "SEPARATE"
    ds.CompletionFlag, ds.VerificationFlag = "PARTIAL", "UNVERIFIED"
    text = Dataset()
    text.RelationshipType, text.ValueType = "CONTAINS", "TEXT"
    text.ConceptNameCodeSequence = [_code("121071", "DCM", "Finding")]
    text.TextValue = "Drawn, not measured."
    ds.ContentSequence = [text]
    return _with(ds, attributes)


def build_gsps(image: Dataset | None = None, **attributes: object) -> Dataset:
    """Build a valid Grayscale Softcopy Presentation State (PS3.3 A.33.1) that shows `image` as it is."""
    image = image if image is not None else build_dx()
    ds = _patient_and_study(GrayscaleSoftcopyPresentationStateStorage, "PR")
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID"):
        setattr(ds, keyword, getattr(image, keyword))
    ds.Laterality = image.get("Laterality") or image.get("ImageLaterality") or "L"
    ds.ContentLabel, ds.ContentDescription, ds.ContentCreatorName = "AS_IS", "", ""
    ds.PresentationCreationDate, ds.PresentationCreationTime = ds.StudyDate, ds.StudyTime
    ds.InstanceNumber = 1
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedImageSequence = image.SeriesInstanceUID, [reference]
    ds.ReferencedSeriesSequence = [series]
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [image.Columns, image.Rows]
    area.PresentationSizeMode, area.PresentationPixelAspectRatio = "SCALE TO FIT", [1, 1]
    ds.DisplayedAreaSelectionSequence = [area]
    ds.PresentationLUTShape = "IDENTITY"
    return _with(ds, attributes)


def build_pdf(document: bytes = b"%PDF-1.4\n%%EOF\n", **attributes: object) -> Dataset:
    """Build an Encapsulated PDF (PS3.3 A.45.1) that carries `document`."""
    ds = _patient_and_study(EncapsulatedPDFStorage, "DOC")
    ds.ConversionType, ds.InstanceNumber, ds.BurnedInAnnotation = "WSD", 1, "YES"
    ds.ContentDate, ds.ContentTime, ds.AcquisitionDateTime = ds.StudyDate, ds.StudyTime, ""
    ds.DocumentTitle, ds.ConceptNameCodeSequence = "Request form", []
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(document)
    ds.EncapsulatedDocument = document + b"\0" * (len(document) % 2)
    return _with(ds, attributes)


def compress(ds: Dataset, transfer_syntax: str) -> Dataset:
    """Return a copy of `ds`, compressed by pydicom's encoders: RLE Lossless, JPEG-LS, JPEG 2000."""
    copy = deepcopy(ds)
    copy.compress(transfer_syntax, generate_instance_uid=False)
    return copy


def encapsulated(ds: Dataset, transfer_syntax: str, codestream: bytes) -> Dataset:
    """Return a copy of `ds` whose only frame is `codestream`: for codecs that have no encoder here, and for faults."""
    copy = deepcopy(ds)
    copy.PixelData = encapsulate([codestream])
    copy["PixelData"].VR = "OB"
    copy["PixelData"].is_undefined_length = True
    copy.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    return copy


def write_part10(ds: Dataset, path: Path) -> Path:
    """Write `ds` as a Part 10 file at `path`, in the transfer syntax its file meta information names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disable_value_validation():
        ds.save_as(path, enforce_file_format=True)
    return path


def _with(ds: Dataset, attributes: dict[str, object]) -> Dataset:
    with disable_value_validation():  # a fault is what some tests are after
        for keyword, value in attributes.items():
            if keyword in ds:
                delattr(ds, keyword)
            if value is not None:
                setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "")
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _patient_and_study(sop_class_uid: str, modality: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class_uid, generate_uid()
    ds.PatientName, ds.PatientID = "Phantom^Drawn", "PHANTOM-1"
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.StudyDate, ds.StudyTime = "20260102", "030405"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "S1", "A1", ""
    ds.StudyDescription = "Drawn lower leg"
    ds.SeriesNumber, ds.InstanceNumber = 1, 1
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "Drawing board", "Pencil"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    return ds


def _dx_modules(ds: Dataset) -> None:
    # DX Series (C.8.11.1), DX Anatomy Imaged (C.8.11.2)
    ds.PresentationIntentType = "FOR PRESENTATION"
    ds.BodyPartExamined = "LEG"
    ds.ImageLaterality = "L"
    ds.AnatomicRegionSequence = [_code("30021000", "SCT", "Lower leg")]
    # General Image, DX Image (C.8.11.3)
    ds.ContentDate, ds.ContentTime = ds.StudyDate, ds.StudyTime
    ds.AcquisitionDate, ds.AcquisitionTime = ds.StudyDate, ds.StudyTime
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientOrientation = ["L", "F"]
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.PresentationLUTShape = "IDENTITY"
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    # DX Positioning (C.8.11.5)
    ds.PositionerType = ""
    ds.ViewPosition = "AP"
    ds.ViewCodeSequence = [_code("399348003", "SCT", "antero-posterior")]
    # DX Detector (C.8.11.4), Acquisition Context (C.7.6.14)
    ds.DetectorType = "DIRECT"
    ds.ImagerPixelSpacing = ["0.2", "0.2"]
    ds.AcquisitionContextSequence = []


def _image_pixel(ds: Dataset, pixels: PixelArray) -> None:
    array = np.ascontiguousarray(pixels)
    colour = array.ndim == 3
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = array.shape[:2]
    ds.BitsAllocated = 8 * array.dtype.itemsize
    ds.BitsStored = 8 if array.dtype.itemsize == 1 else _bits_needed(array)
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(array.dtype.kind == "i")
    raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB" if array.dtype.itemsize == 1 else "OW"


def _bits_needed(array: NDArray[Any]) -> int:
    """Find 10, 12, 14 or 16: the fewest bits usual in radiography that hold `array`."""
    sign = int(array.dtype.kind == "i")
    low, high = int(array.min(initial=0)), int(array.max(initial=0))
    return next((bits for bits in (10, 12, 14) if -(2 ** (bits - 1)) * sign <= low and high < 2 ** (bits - sign)), 16)


def _full_window(ds: Dataset) -> tuple[str, str]:
    """Say the window that shows every stored value."""
    low = -(2 ** (ds.BitsStored - 1)) if ds.PixelRepresentation else 0
    return str(low + 2 ** (ds.BitsStored - 1)), str(2**ds.BitsStored)
