"""What dicom3tools finds in the results: nothing that is an error."""

import subprocess

import pytest
from analyses import build_excluded, build_image, build_study
from builders import build_cr, build_dx, build_sc, build_sr, write_part10
from pydicom.uid import generate_uid

from dicom_node.encode.results import encode_study
from dicom_node.settings import Encoding
from dicom_node.values import ResultReference
from inference.types import Decision

pytestmark = pytest.mark.dicom3tools

# dicom3tools does not know that DeviceUID belongs to Contributing Equipment (PS3.3 C.12.1). Imager Pixel Spacing, which
# the picture shares with its source, makes a Standard Extended SOP Class. A source without identifiers gives none on.
EXPECTED = ("Imager Pixel Spacing", "Device UID", "Standard Extended SOP Class", "needed to build DICOMDIR")
UNKNOWN_SIDE = "attribute <Laterality>"


def one_patient(**attributes):
    return {"StudyInstanceUID": STUDY, "PatientName": "山田^太郎=山田^太郎", **attributes}


STUDY = generate_uid()
REPLACED = ResultReference(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.104.1", sop_instance_uid="2.25.1", series_instance_uid="2.25.2", version=1
)
SHOWN = ResultReference(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
    sop_instance_uid="2.25.3",
    series_instance_uid="2.25.4",
    version=1,
    source_sop_instance_uid=generate_uid(),
)
BARE = dict.fromkeys(("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"), "")

STUDIES = {
    "a DX": lambda: build_study([build_image(build_dx())]),
    "a CR with everything": lambda: build_study(
        [build_image(build_cr(IssuerOfPatientID="CITY", PatientAge="055Y", TimezoneOffsetFromUTC="+0100"))]
    ),
    "a CR that was compressed with loss": lambda: build_study(
        [
            build_image(
                build_cr(
                    LossyImageCompression="01",
                    LossyImageCompressionRatio=[8.25, 2],
                    LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"],
                )
            )
        ]
    ),
    "a DX with nothing": lambda: build_study([build_image(build_dx(**BARE, PatientID="", ImageLaterality=None))]),
    "a digitised film": lambda: build_study([build_image(build_sc(PatientOrientation=None))]),
    "pixels that are not square": lambda: build_study(
        [build_image(build_dx(PixelAspectRatio=[2, 1], ImagerPixelSpacing=None), pixel_aspect=2.0)]
    ),
    "a calibrated DX": lambda: build_study(
        [
            build_image(
                build_dx(
                    PixelSpacing=[0.1, 0.1],
                    PixelSpacingCalibrationType="FIDUCIAL",
                    PixelSpacingCalibrationDescription="ball",
                )
            )
        ]
    ),
    "a second version of several images": lambda: build_study(
        [
            build_image(build_dx(**one_patient(SOPInstanceUID=SHOWN.source_sop_instance_uid))),
            build_image(build_dx(**one_patient(InstanceNumber=2)), decision=Decision.NO_FRACTURE, heatmap=None),
            build_image(build_dx(**one_patient(InstanceNumber=3)), decision=Decision.NOT_ANALYSED, reason="no scope"),
        ],
        [build_excluded(build_sr(**one_patient()), "It is not an image.")],
        version=2,
        supersedes=(SHOWN, REPLACED),
    ),
    "nothing analysed": lambda: build_study([], [build_excluded(build_sr(), "It is not an image.")]),
}


def run(program, *paths):
    found = subprocess.run([program, *map(str, paths)], capture_output=True, text=True, check=False)
    return found.returncode, [line for line in (found.stdout + found.stderr).splitlines() if line]


def write_results(study, folder):
    results = encode_study(study, ae_title="FRACTUREAI", encodings=tuple(Encoding), reject_superseded=True)
    return [write_part10(result.ds, folder / f"{number}.dcm") for number, result in enumerate(results)]


@pytest.mark.parametrize("name", STUDIES)
def test_dciodvfy_finds_no_error_and_no_new_warning(name, tmp_path):
    for path in write_results(STUDIES[name](), tmp_path):
        status, lines = run("dciodvfy", path)
        assert status == 0, lines
        assert not [line for line in lines if line.startswith("Error")]
        warnings = [line for line in lines if line.startswith("Warning")]
        known = (*EXPECTED, UNKNOWN_SIDE) if name in {"a DX with nothing", "nothing analysed"} else EXPECTED
        assert not [line for line in warnings if not any(words in line for words in known)]


@pytest.mark.parametrize("name", STUDIES)
def test_dcentvfy_finds_source_and_results_to_be_of_one_patient_and_study(name, tmp_path):
    study = STUDIES[name]()
    results = write_results(study, tmp_path)
    sources = [
        write_part10(instance.header, tmp_path / f"source{number}.dcm")
        for number, instance in enumerate(study.study.instances)
        if instance.header.Modality != "SR"  # the builder's own SR is not what is tested
    ]
    status, lines = run("dcentvfy", *results, *sources)
    # dicom3tools takes the accession number of a radiograph for its series' where a key object document is beside it.
    lines = [line for line in lines if "attribute - Element=<AccessionNumber> IE <Study> versus <Series>" not in line]
    assert (status, lines) == (0, [])


def test_the_validators_do_find_an_error(tmp_path):
    pdf = encode_study(STUDIES["a DX"](), ae_title="FRACTUREAI")[-1].ds
    del pdf.BurnedInAnnotation
    status, lines = run("dciodvfy", write_part10(pdf, tmp_path / "spoiled.dcm"))
    assert status != 0
    assert any("BurnedInAnnotation" in line for line in lines)
