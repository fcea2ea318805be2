"""What results of a later version say of the earlier ones, and what rejects those."""

from dataclasses import replace

import pytest
from analyses import build_image, build_study
from builders import build_dx
from pydicom.uid import EncapsulatedPDFStorage, KeyObjectSelectionDocumentStorage, SecondaryCaptureImageStorage

from dicom_node.encode.results import encode_study
from dicom_node.encode.versions import describe_version
from dicom_node.identity import DISCLAIMER, is_own_result
from dicom_node.settings import Encoding
from dicom_node.values import ResultKind, ResultReference
from inference.types import Decision

STUDY = "1.2.3"


def picture_of(source, *, version=1):
    return ResultReference(
        sop_class_uid=SecondaryCaptureImageStorage,
        sop_instance_uid=f"2.25.1{version}{source[-4:]}",
        series_instance_uid=f"2.25.1{version}",
        version=version,
        source_sop_instance_uid=source,
    )


def report(*, version=1):
    return ResultReference(
        sop_class_uid=EncapsulatedPDFStorage,
        sop_instance_uid=f"2.25.2{version}1",
        series_instance_uid=f"2.25.2{version}",
        version=version,
    )


def second_version(**attributes):
    """A study whose first image was in version 1 already, and whose second is new."""
    sources = [build_dx(StudyInstanceUID=STUDY, InstanceNumber=n) for n in (1, 2)]
    old = (picture_of(sources[0].SOPInstanceUID), report())
    images = [build_image(ds, **attributes) for ds in sources]
    return build_study(images, version=2, supersedes=old), old


def encode(study, **options):
    return {one.kind: one for one in encode_study(study, ae_title="NODE", **options)}


@pytest.mark.parametrize(
    ("version", "supersedes", "standing", "said"),
    [
        (1, (), (), "Version 1"),
        (2, (1,), (), "Version 2, supersedes version 1"),
        (4, (3, 1, 3), (), "Version 4, supersedes versions 1 and 3"),
        (2, (), (1,), "Version 2, beside version 1, which stays valid"),
        (4, (3,), (2, 1), "Version 4, supersedes version 3, beside versions 1 and 2, which stay valid"),
        (2, (), (), "Version 2"),
    ],
)
def test_a_version_says_what_becomes_of_the_earlier_ones(version, supersedes, standing, said):
    old = tuple(report(version=number) for number in supersedes)
    study = build_study([build_image()], version=version, supersedes=old, standing=standing).study
    assert describe_version(study) == said


def test_a_picture_references_the_one_of_the_same_image_and_says_that_it_supersedes_it():
    study, old = second_version()
    first, second = (one.ds for one in encode_study(study, ae_title="NODE") if one.kind is ResultKind.SECONDARY_CAPTURE)
    (reference,) = first.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == old[0].sop_instance_uid
    assert "ReferencedImageSequence" not in second
    for ds in (first, second):
        assert "Version 2, supersedes version 1." in ds.ImageComments
        assert "Version 2, supersedes version 1." in ds.DerivationDescription
        assert ds.SeriesDescription.endswith("version 2")


def test_a_picture_shows_its_version():
    study, _ = second_version()
    once = build_study(study.images, version=1)
    later, first = (encode_study(one, ae_title="NODE")[1].ds for one in (study, once))
    bottom = later.Columns * 3 * (later.Rows - 40)
    assert later.PixelData[:bottom] == first.PixelData[:bottom]
    assert later.PixelData[bottom:] != first.PixelData[bottom:]


def test_a_report_names_the_report_it_supersedes_and_its_version():
    study, old = second_version()
    ds = encode(study)[ResultKind.ENCAPSULATED_PDF].ds
    assert ds.DocumentTitle == f"Fracture AI report, version 2, supersedes version 1. {DISCLAIMER}"
    (item,) = ds.PredecessorDocumentsSequence
    (series,) = item.ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == old[1].sop_instance_uid


def test_a_first_version_mentions_no_other():
    for one in encode_study(build_study([build_image()]), ae_title="NODE", reject_superseded=True):
        assert one.kind is not ResultKind.REJECTION_NOTE
        references = [item.ReferencedSOPClassUID for item in one.ds.get("ReferencedImageSequence", [])]
        assert SecondaryCaptureImageStorage not in references
        assert "PredecessorDocumentsSequence" not in one.ds
        assert "ersion" not in one.ds.get("ImageComments", "") + one.ds.get("DocumentTitle", "")


def test_a_rejection_note_lists_everything_that_is_superseded_for_patient_safety():
    study, old = second_version()
    *_, last = encode_study(study, ae_title="NODE", reject_superseded=True)
    assert last.kind is ResultKind.REJECTION_NOTE
    ds = last.ds
    assert (ds.SOPClassUID, ds.Modality) == (KeyObjectSelectionDocumentStorage, "KO")
    title = ds.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113037", "DCM")
    assert title.CodeMeaning == "Rejected for Patient Safety Reasons"
    (evidence,) = ds.CurrentRequestedProcedureEvidenceSequence
    assert evidence.StudyInstanceUID == ds.StudyInstanceUID == STUDY
    listed = [
        (series.SeriesInstanceUID, one.ReferencedSOPInstanceUID)
        for series in evidence.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    ]
    assert listed == [(one.series_instance_uid, one.sop_instance_uid) for one in old]
    text, *rejected = ds.ContentSequence
    assert "Version 2, supersedes version 1" in text.TextValue
    assert [(one.ValueType, one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) for one in rejected] == [
        ("IMAGE", old[0].sop_instance_uid),
        ("COMPOSITE", old[1].sop_instance_uid),
    ]
    assert is_own_result(ds)
    assert encode(study, reject_superseded=True)[ResultKind.REJECTION_NOTE].ds == ds


def test_without_the_setting_nothing_is_rejected():
    study, _ = second_version()
    assert ResultKind.REJECTION_NOTE not in encode(study)


def test_an_answer_that_is_not_given_again_is_not_rejected():
    """A later version that could not analyse an image must not take the earlier answer to it out of sight."""
    study, _ = second_version(decision=Decision.NOT_ANALYSED, reason="no pixels")
    assert ResultKind.REJECTION_NOTE not in encode(study, reject_superseded=True)


def uids_of(study):
    made = encode_study(study, ae_title="NODE", encodings=tuple(Encoding))
    return {uid for one in made for uid in (one.ds.SOPInstanceUID, one.ds.SeriesInstanceUID)}


def build_versions(*headers):
    """Build a study of an image for each of these headers, without the last of them and, as version 2, with it."""
    images = [build_image(build_dx(StudyInstanceUID=STUDY, **header)) for header in headers]
    return build_study(images[:-1]), build_study(images, version=2)


@pytest.mark.parametrize(
    "headers",
    [
        [{"PatientID": "1"}, {"PatientID": "2"}],
        [{"PatientID": "1"}, {"PatientID": "2"}, {"PatientID": "1"}],
        [{"PatientID": "1", "IssuerOfPatientID": "CITY"}, {"PatientID": "1", "IssuerOfPatientID": "TOWN"}],
    ],
)
def test_a_late_image_of_another_patient_gives_all_results_new_uids(headers):
    """One patient's images are what they were, and what is said of them is not."""
    first, second = build_versions(*headers)
    assert uids_of(first).isdisjoint(uids_of(second))


@pytest.mark.parametrize("other", ["1", "2"])
def test_uids_do_not_tell_which_version_it_is(other):
    """A database that is made again from what was received counts versions anew, and archives hold the results."""
    _, second = build_versions({"PatientID": "1"}, {"PatientID": other})
    assert uids_of(second) == uids_of(replace(second, study=replace(second.study, version=1)))


def test_results_of_one_patient_have_the_uids_that_archives_hold():
    images = [build_image(build_dx(SOPInstanceUID=f"1.2.3.4.{number}", StudyInstanceUID=STUDY)) for number in (1, 2)]
    made = encode(build_study(images, version=3))
    assert made[ResultKind.SUMMARY].ds.SOPInstanceUID == "2.25.158776334235818381137378622353488251796"
    assert made[ResultKind.ENCAPSULATED_PDF].ds.SOPInstanceUID == "2.25.94870928912345282614953175201521734825"
    assert made[ResultKind.ENCAPSULATED_PDF].ds.SeriesInstanceUID == "2.25.7858111985398904070013492272004512686"
