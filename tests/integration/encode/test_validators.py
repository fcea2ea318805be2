"""What dicom3tools finds in the results: nothing that is an error."""

import subprocess

import pytest
from analyses import build_analysis, build_excluded, build_image, build_study
from analysing import ScriptedPipeline
from builders import build_cr, build_dx, build_sc, build_sr, write_part10
from pydicom import dcmread
from pydicom.uid import generate_uid
from web_bench import build_settings

from dicom_node.encode.results import encode_study
from dicom_node.operate.handed_results import make_handed_results
from dicom_node.settings import Destination, Encoding
from dicom_node.values import WORDED, ResultReference
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
JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ReferringPhysicianName": "Suzuki^Ichirou=鈴木^一郎",
    "StudyDescription": "右足",
}
"""As Japanese modalities write it: another character set than that of the results, where nothing forbids that.

None of its characters has the byte of a backslash, which dicom3tools takes for one (as PS3.5 6.1.2.5 does not).
"""
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
    "a shutter of three shapes": lambda: build_study(
        [
            build_image(
                build_dx(
                    ShutterShape=["RECTANGULAR", "CIRCULAR", "POLYGONAL"],
                    ShutterLeftVerticalEdge=41,
                    ShutterRightVerticalEdge=280,
                    ShutterUpperHorizontalEdge=81,
                    ShutterLowerHorizontalEdge=440,
                    CenterOfCircularShutter=[240, 200],
                    RadiusOfCircularShutter=160,
                    VerticesOfThePolygonalShutter=[40, 200, 256, 380, 480, 200, 256, 20],
                )
            )
        ]
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
    "a Japanese patient": lambda: build_study([build_image(build_cr(**JAPANESE))]),
    "a Japanese patient with an identifier that is read in several ways": lambda: build_study(
        [build_image(build_cr(**JAPANESE, PatientID="A~1"))]
    ),
    "nothing analysed": lambda: build_study([], [build_excluded(build_sr(), "It is not an image.")]),
}


def run(program, *paths):
    found = subprocess.run([program, *map(str, paths)], capture_output=True, text=True, check=False)
    return found.returncode, [line for line in (found.stdout + found.stderr).splitlines() if line]


def write_results(study, folder, *languages):
    results = encode_study(
        study, ae_title="FRACTUREAI", encodings=tuple(Encoding), languages=languages, reject_superseded=True
    )
    assert tuple(dict.fromkeys(one.language for one in results if one.kind in WORDED)) == languages
    return [write_part10(result.ds, folder / f"{number}.dcm") for number, result in enumerate(results)]


def find_faults(path, *, known=EXPECTED):
    """Return what dciodvfy says of a result beside the warnings that are known."""
    status, lines = run("dciodvfy", path)
    faults = [line for line in lines if line.startswith("Error")]
    warnings = [line for line in lines if line.startswith("Warning")]
    faults += [line for line in warnings if not any(words in line for words in known)]
    return faults or ([] if status == 0 else lines)


def turn_into(character_set, ds):
    """Have the same characters written in another character set: dcentvfy compares bytes."""
    ds.decode()
    ds.SpecificCharacterSet = character_set
    return ds


def find_disagreements(*paths):
    """Return where dcentvfy finds the files not to be of one patient and study."""
    status, lines = run("dcentvfy", *paths)
    # dicom3tools takes the accession number of a radiograph for its series' where a key object document is beside it.
    lines = [line for line in lines if "attribute - Element=<AccessionNumber> IE <Study> versus <Series>" not in line]
    return lines or ([] if status == 0 else [status])


@pytest.mark.parametrize("name", STUDIES)
def test_the_validators_find_nothing_in_any_kind_of_result(name, tmp_path):
    study = STUDIES[name]()
    results = write_results(study, tmp_path, "en", "ja")
    known = (*EXPECTED, UNKNOWN_SIDE) if name in {"a DX with nothing", "nothing analysed"} else EXPECTED
    assert {path.name: faults for path in results if (faults := find_faults(path, known=known))} == {}
    character_set = dcmread(results[0]).SpecificCharacterSet
    sources = [
        write_part10(turn_into(character_set, instance.header), tmp_path / f"source{number}.dcm")
        for number, instance in enumerate(study.study.instances)
        if instance.header.Modality != "SR"  # the builder's own SR is not what is tested
    ]
    assert find_disagreements(*results, *sources) == []


@pytest.mark.parametrize("language", ["en", "ja"])
def test_they_find_nothing_in_the_results_of_files_that_were_handed_over(language, tmp_path):
    sources = [
        write_part10(ds, tmp_path / f"{number}.dcm")
        for number, ds in enumerate(
            [build_dx(**one_patient()), build_dx(**one_patient(InstanceNumber=2)), build_cr(**one_patient())]
        )
    ]
    pipeline = ScriptedPipeline(lambda radiograph: build_analysis(radiograph.rows, radiograph.columns))
    destination = Destination(
        name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=104, results=tuple(Encoding), language=language
    )
    decisions, made = make_handed_results(
        sources, tmp_path / "made", pipeline, build_settings(tmp_path / "node"), destination
    )
    assert (decisions, len(made)) == (["fracture"] * 3, 10)
    results = [tmp_path / "made" / name for _, _, name, _ in made]
    assert {path.name: faults for path in results if (faults := find_faults(path))} == {}
    assert find_disagreements(*results, *sources) == []


def test_the_validators_do_find_an_error(tmp_path):
    pdf = encode_study(STUDIES["a DX"](), ae_title="FRACTUREAI")[-1].ds
    del pdf.BurnedInAnnotation
    status, lines = run("dciodvfy", write_part10(pdf, tmp_path / "spoiled.dcm"))
    assert status != 0
    assert any("BurnedInAnnotation" in line for line in lines)
