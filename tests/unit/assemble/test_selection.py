from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import build_cr, build_dx, build_gsps, build_pdf, build_sc, build_sr
from pydicom import Dataset
from pydicom.uid import (
    CTImageStorage,
    DigitalMammographyXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    KeyObjectSelectionDocumentStorage,
)

from dicom_node.assemble.selection import CONFLICTING_PATIENT_IDS, RULES, select_radiographs
from dicom_node.body_part import OUTSIDE, REGIONS, contradicts, outside_scope
from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME
from dicom_node.values import Instance, Study


def study_of(*headers: Dataset) -> Study:
    instances = (Instance(path=Path(f"{number}.dcm"), header=header) for number, header in enumerate(headers))
    return Study(
        study_instance_uid="1.2.3",
        revision="0",
        version=1,
        created_at=datetime(2026, 1, 2, tzinfo=UTC),
        instances=tuple(instances),
    )


def reason(header: Dataset) -> str | None:
    selection = select_radiographs(study_of(header))
    return selection.excluded[0].reason if selection.excluded else None


def own_result() -> Dataset:
    ds = build_sc(Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME)
    ds.BodyPartExamined = "CHEST"
    return ds


@pytest.mark.parametrize(
    "radiograph",
    [
        build_dx(),
        build_cr(),
        build_sc(),
        build_dx(ImageType=["DERIVED", "PRIMARY"]),
        build_dx(ImageType=["DERIVED", "PRIMARY", "POST_PROCESSED", "", "", "", "PROCESSED"]),
        build_dx(ImageType=None),
        build_dx(PresentationIntentType=None),
        build_cr(NumberOfFrames=1),
        build_cr(BodyPartExamined="EXTREMITY"),
        build_cr(BodyPartExamined=""),
        build_cr(BodyPartExamined="UNHEARD OF"),
        build_cr(BodyPartExamined=None),
        build_cr(BodyPartExamined="PELVIS"),
        build_cr(BodyPartExamined="FEMORAL NECK"),
        build_sc(ConversionType="DI"),
        build_sc(ConversionType="DF", ImageType=["DERIVED", "SECONDARY"]),
        build_sc(Modality="RG"),
    ],
)
def test_a_radiograph_of_a_limb_is_analysed(radiograph: Dataset) -> None:
    assert reason(radiograph) is None


@pytest.mark.fault(43, 53)
@pytest.mark.parametrize(
    ("header", "words"),
    [
        (own_result(), "a result of this node"),
        (build_sr(), "Basic Text SR Storage"),
        (build_gsps(), "Presentation State"),
        (build_pdf(), "Encapsulated PDF"),
        (build_sr(SOPClassUID=KeyObjectSelectionDocumentStorage, Modality="KO"), "Key Object Selection"),
        (build_cr(SOPClassUID=CTImageStorage, Modality="CT"), "CT Image Storage"),
        (build_cr(SOPClassUID="1.2.3.4"), "not a radiograph."),
        (build_cr(SOPClassUID=None), "not a radiograph."),
        (build_dx(SOPClassUID=DigitalXRayImageStorageForProcessing), "For Processing"),
        (build_dx(PresentationIntentType="FOR PROCESSING"), "For Processing"),
        (build_cr(Modality="MG"), "mammogram"),
        (build_dx(SOPClassUID=DigitalMammographyXRayImageStorageForPresentation), "mammogram"),
        (build_sc(ConversionType="WSD"), "Secondary Capture"),
        (build_sc(ConversionType="SD"), "Secondary Capture"),
        (build_sc(ConversionType=None), "Secondary Capture"),
        (build_sc(Modality="OT"), "Secondary Capture"),
        (build_sc(PhotometricInterpretation="RGB"), "Secondary Capture"),
        (build_sc(ConversionType="DI", ImageType=["DERIVED", "SECONDARY"]), "secondary image"),
        (build_dx(ImageType=["DERIVED", "SECONDARY"]), "secondary image"),
        (build_dx(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "localiser"),
        (build_cr(NumberOfFrames=3), "more than one frame"),
        (build_cr(Rows=None), "no image"),
        (build_cr(Modality="PX"), "dental"),
        (build_cr(BodyPartExamined="CHEST"), "header says CHEST"),
        (build_cr(BodyPartExamined="CHEST PA"), "header says CHEST"),
        (build_cr(BodyPartExamined="C-SPINE"), "header says CSPINE"),
        (build_cr(BodyPartExamined="skull "), "header says SKULL"),
    ],
)
def test_anything_else_is_left_out_with_its_reason(header: Dataset, words: str) -> None:
    said = reason(header)

    assert said is not None
    assert words in said
    assert said.endswith(".")


def test_every_rule_speaks_in_some_case_above_and_says_what_it_leaves_out() -> None:
    assert all(rule.__doc__ and rule.__doc__.startswith("Leave out") for rule in RULES)


def test_the_anatomic_region_speaks_where_body_part_examined_is_silent() -> None:
    chest = Dataset()
    chest.CodeValue, chest.CodingSchemeDesignator, chest.CodeMeaning = "43799004", "SCT", "Chest"

    assert reason(build_dx(BodyPartExamined="", AnatomicRegionSequence=[chest])) is not None
    assert reason(build_dx(BodyPartExamined="LEG", AnatomicRegionSequence=[chest])) is None
    assert reason(build_dx(BodyPartExamined=None, AnatomicRegionSequence=[])) is None


def test_a_mixed_study_keeps_its_order_and_loses_nothing() -> None:
    headers = [build_sr(), build_dx(), own_result(), build_cr(), build_cr(BodyPartExamined="ABDOMEN")]

    study = study_of(*headers)
    selection = select_radiographs(study)

    assert [instance.header for instance in selection.radiographs] == [headers[1], headers[3]]
    assert [left_out.instance.header for left_out in selection.excluded] == [headers[0], headers[2], headers[4]]


@pytest.mark.fault(28)
def test_a_study_of_several_patients_is_not_analysed_at_all() -> None:
    selection = select_radiographs(study_of(build_dx(PatientID="A"), build_dx(PatientID="B"), build_sr(PatientID="A")))

    assert not selection.radiographs
    assert [left_out.reason for left_out in selection.excluded] == [CONFLICTING_PATIENT_IDS] * 3


def test_padding_does_not_make_another_patient() -> None:
    assert len(select_radiographs(study_of(build_dx(PatientID="A"), build_dx(PatientID="A "))).radiographs) == 2


def test_a_study_without_instances_selects_none() -> None:
    assert select_radiographs(study_of()).radiographs == ()


def test_the_body_part_is_checked_against_the_region_with_its_neighbours() -> None:
    assert contradicts(build_cr(BodyPartExamined="HAND"), "KNEE") == "HAND"
    assert contradicts(build_cr(BodyPartExamined="WRIST"), "FOREARM") is None
    assert contradicts(build_cr(BodyPartExamined="EXTREMITY"), "KNEE") is None
    assert contradicts(build_cr(BodyPartExamined=""), "KNEE") is None
    assert outside_scope(build_cr(BodyPartExamined="HAND CHEST")) is None
    assert not OUTSIDE & REGIONS.keys()
