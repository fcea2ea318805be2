"""Write the sample studies into this folder. Run by hand, from the root of the repository:

    PYTHONPATH=tests .venv/bin/python sample_studies/make_samples.py

Needs the development extra, for the package pydicom-data. Writes the same files every time.
"""  # noqa: D400 - a command ends the first sentence

from importlib.resources import files
from pathlib import Path

from builders import build_cr, build_dx, compress, phantom, write_part10
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from dicom_node.identity import derive_uid

HERE = Path(__file__).parent
_REMOVED = (
    "DataSetTrailingPadding",
    "DeviceSerialNumber",
    "DerivationDescription",
    "ImageComments",
    "InstanceCreatorUID",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "OtherPatientIDs",
    "SourceImageSequence",
    "StationName",
)


def main() -> None:
    """Write every sample study."""
    for name, ds, transfer_syntax in (*real_radiographs(), *phantoms()):
        sample = identified(ds, name)
        if transfer_syntax != ExplicitVRLittleEndian:
            sample = compress(sample, transfer_syntax)
        path = write_part10(sample, HERE / name / f"{sample.InstanceNumber}.dcm")
        print(f"{path.relative_to(HERE)}  {path.stat().st_size / 1e6:.2f} MB")


def real_radiographs() -> list[tuple[str, Dataset, str]]:
    """Take the uncompressed CR of pydicom-data; the tibia twice, in two transfer syntaxes."""
    return [
        ("tibia_jpeg_2000", real("RG3_UNCR.dcm"), JPEG2000Lossless),
        ("tibia_jpeg_ls", real("RG3_UNCR.dcm"), JPEGLSLossless),
        ("chest", real("RG1_UNCR.dcm"), JPEGLSLossless),
    ]


def real(file_name: str) -> Dataset:
    """Read an image of pydicom-data and take out what its makers wrote about places and devices."""
    ds = dcmread(str(files("data_store") / "data" / file_name))
    for keyword in _REMOVED:
        if keyword in ds:
            delattr(ds, keyword)
    ds.ReferringPhysicianName, ds.PatientBirthDate = "", ""
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    return ds


def phantoms() -> list[tuple[str, Dataset, str]]:
    """Draw the shapes that geometry goes wrong with."""
    two_views = {"BodyPartExamined": "LEG", "StudyDescription": "Drawn lower leg, two images"}
    lateral = {"InstanceNumber": 2, "ViewPosition": "LL", "ViewCodeSequence": None}
    inverted = {"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}
    return [
        ("phantom_two_images", build_dx(phantom(640, 480), **two_views), ExplicitVRLittleEndian),
        ("phantom_two_images", build_dx(4095 - phantom(640, 360), **two_views, **lateral, **inverted), JPEGLSLossless),
        ("phantom_landscape", build_cr(phantom(360, 640, bits=10)), JPEG2000Lossless),
        ("phantom_oblong_pixels", build_cr(phantom(320, 480, bits=10), PixelAspectRatio=[2, 1]), JPEG2000Lossless),
        (
            "phantom_oblong_spacing",
            build_dx(phantom(640, 240), ImagerPixelSpacing=["0.2", "0.4"]),
            JPEGLSLossless,
        ),
    ]


def identified(ds: Dataset, name: str) -> Dataset:
    """Give `ds` the identity of the sample study `name`: nobody's, and UIDs that only it has."""
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID = f"Sample^{name.title().replace('_', ' ')}", f"SAMPLE-{name.upper()}"
    ds.StudyID, ds.AccessionNumber = "SAMPLE", f"S{derive_uid('sample', name)[-8:]}"
    ds.StudyInstanceUID = derive_uid("sample study", name)
    ds.SeriesInstanceUID = derive_uid("sample series", name)
    ds.SOPInstanceUID = derive_uid("sample", name, str(ds.InstanceNumber))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.pop("SourceApplicationEntityTitle", None)
    return ds


if __name__ == "__main__":
    main()
