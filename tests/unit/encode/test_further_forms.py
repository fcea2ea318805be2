"""Structured report, presentation state and key objects: what they say, of which image, in whose codes."""

from io import BytesIO

import pytest
from analyses import MODELS, build_excluded, build_image, build_study
from builders import build_dx, build_sr
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage

import dicom_node.encode.results
from dicom_node.encode.presentation_state import encode_presentation_state
from dicom_node.encode.report.wording import NEVER_CAME
from dicom_node.encode.results import encode_study
from dicom_node.encode.sop_classes import list_kinds
from dicom_node.identity import DISCLAIMER, is_own_result
from dicom_node.settings import DEFAULT_ENCODINGS, Encoding
from dicom_node.values import Expectation, ListedImage, ResultKind, ResultReference
from inference.types import Decision, RegionPrediction

STUDY = {"StudyInstanceUID": "1.2.3"}
FURTHER = (ResultKind.STRUCTURED_REPORT, ResultKind.PRESENTATION_STATE, ResultKind.KEY_OBJECTS)
BARE = dict.fromkeys(
    ("PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber")
)


def image(decision=Decision.FRACTURE, **attributes):
    header = {key: attributes.pop(key) for key in list(attributes) if key[0].isupper()}
    if decision in {Decision.NO_FRACTURE, Decision.NOT_ANALYSED}:
        attributes |= {"rois": (), "heatmap": None, "heatmap_peak": None}
    if decision is Decision.NOT_ANALYSED:
        attributes |= {"fracture": None, "region": None, "models": ()}
    return build_image(build_dx(**STUDY, **header), decision=decision, **attributes)


def encode(study, encodings=tuple(Encoding)):
    results = {}
    for one in encode_study(study, ae_title="NODE", encodings=encodings):
        with BytesIO() as file:
            one.ds.save_as(file, enforce_file_format=True)
            results.setdefault(one.kind, []).append(dcmread(BytesIO(file.getvalue())))
    return results


def groups(ds):
    """The measurement groups of an SR: their children by the meaning of their names."""
    (measurements,) = [item for item in ds.ContentSequence if name_of(item) == "Imaging Measurements"]
    return [
        [(name_of(child), value_of(child)) for child in group.ContentSequence] for group in measurements.ContentSequence
    ]


def name_of(item):
    return item.ConceptNameCodeSequence[0].CodeMeaning if "ConceptNameCodeSequence" in item else ""


def value_of(item):
    if item.ValueType == "SCOORD":  # the image that it lies on
        item = item.ContentSequence[0]
    match item.ValueType:
        case "CODE":
            code = item.ConceptCodeSequence[0]
            return (code.CodeValue, code.CodingSchemeDesignator)
        case "NUM":
            return float(item.MeasuredValueSequence[0].NumericValue)
        case "IMAGE":
            return str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
        case "TEXT":
            return item.TextValue
        case "UIDREF":
            return str(item.UID)
    return item.ValueType


@pytest.mark.parametrize(
    ("decision", "answer"),
    [
        (Decision.FRACTURE, ("415684004", "SCT")),
        (Decision.NO_FRACTURE, ("260415000", "SCT")),
        (Decision.UNCERTAIN, ("373068000", "SCT")),
        (Decision.NOT_ANALYSED, ("262008008", "SCT")),
    ],
)
def test_the_structured_report_has_every_image_with_its_answer(decision, answer):
    one = image(decision, reason="because of something" if decision is Decision.NOT_ANALYSED else "")
    (report,) = encode(build_study([one]))[ResultKind.STRUCTURED_REPORT]
    group = groups(report)[0]
    assert ("Fracture of bone", answer) in group
    assert one.instance.sop_instance_uid in dict(group).values()
    probabilities = [value for name, value in group if name == "Probability"]
    assert probabilities == ([] if decision is Decision.NOT_ANALYSED else [0.87])
    (comment,) = [value for name, value in group if name == "Comment"]
    assert DISCLAIMER in comment
    assert ("Because of something." in comment) is (decision is Decision.NOT_ANALYSED)


def test_what_was_left_out_or_never_came_is_in_the_structured_report_with_its_reason():
    chest = build_excluded(build_dx(**STUDY, BodyPartExamined="CHEST"), "Chest is out of scope.")
    study = build_study([image()], [chest, build_excluded(build_sr(**STUDY), "It is not an image.")])
    missing = ListedImage(
        sop_instance_uid="1.9", series_instance_uid="1.8", modality="DX", series_number=1, instance_number=7
    )
    expected = Expectation(archive="pacs", listed=3, missing=(missing,))
    study = type(study)(**{**vars(study), "study": type(study.study)(**{**vars(study.study), "expectation": expected})})
    (report,) = encode(study)[ResultKind.STRUCTURED_REPORT]
    *_, left_out, never_came = groups(report)
    assert chest.instance.sop_instance_uid in dict(left_out).values()
    for group, reason in ((left_out, "Chest is out of scope."), (never_came, NEVER_CAME)):
        assert ("Fracture of bone", ("262008008", "SCT")) in group
        assert any(name == "Comment" and reason in value for name, value in group)
    assert ("Tracking Identifier", "series 1, image 7") in never_came
    assert len(groups(report)) == 3  # the image's box, the chest, the missing one; an SR is no image


def test_the_models_are_identified_and_the_site_is_coded_with_its_side():
    seen = RegionPrediction(region="ANKLE_FOOT", confidence=0.9, probabilities={"ANKLE_FOOT": 0.9, "LEG": 0.1})
    (report,) = encode(build_study([image(region=seen, ImageLaterality="R")]))[ResultKind.STRUCTURED_REPORT]
    for group in groups(report):
        assert ("Algorithm Name", MODELS[1].name) in group
        assert ("Algorithm Version", MODELS[1].version) in group
        assert ("Algorithm Parameters", f"SHA-256 {MODELS[1].digest}") in group
        sites = [value for name, value in group if name == "Finding Site"]
        assert sites == [("70258002", "SCT"), ("56459004", "SCT")]
    (measurements,) = [item for item in report.ContentSequence if name_of(item) == "Imaging Measurements"]
    sided = [
        value_of(side)
        for group in measurements.ContentSequence
        for site in group.ContentSequence
        if name_of(site) == "Finding Site"
        for side in site.ContentSequence
    ]
    assert set(sided) == {("24028007", "SCT")}


def test_a_later_structured_report_names_the_one_it_supersedes():
    old = ResultReference(
        sop_class_uid=Comprehensive3DSRStorage, sop_instance_uid="2.25.7", series_instance_uid="2.25.8", version=1
    )
    (report,) = encode(build_study([image()], version=2, supersedes=(old,)))[ResultKind.STRUCTURED_REPORT]
    (series,) = report.PredecessorDocumentsSequence[0].ReferencedSeriesSequence
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.7"
    assert report.SeriesDescription.endswith("version 2")


def test_a_picture_does_not_take_an_old_presentation_state_of_its_source_for_a_picture():
    one = image()
    old = ResultReference(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.11.1",
        sop_instance_uid="2.25.7",
        series_instance_uid="2.25.8",
        version=1,
        source_sop_instance_uid=one.instance.sop_instance_uid,
    )
    results = encode(build_study([one], version=2, supersedes=(old,)))
    assert "ReferencedImageSequence" not in results[ResultKind.SECONDARY_CAPTURE][0]


def test_the_key_objects_are_the_images_with_a_finding():
    found = [image(InstanceNumber=1), image(Decision.UNCERTAIN, InstanceNumber=2)]
    others = [image(Decision.NO_FRACTURE, InstanceNumber=3), image(Decision.NOT_ANALYSED, reason="x", InstanceNumber=4)]
    (keys,) = encode(build_study([*found, *others]))[ResultKind.KEY_OBJECTS]
    title = keys.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113000", "DCM")
    selected = [value_of(item) for item in keys.ContentSequence if item.ValueType == "IMAGE"]
    assert selected == [one.instance.sop_instance_uid for one in found]
    (description,) = [item.TextValue for item in keys.ContentSequence if item.ValueType == "TEXT"]
    assert "Series 1, image 1, DX, AP, left: Fracture suspected 0.87." in description
    assert "Series 1, image 2, DX, AP, left: Uncertain 0.87." in description
    assert DISCLAIMER in description
    assert ResultKind.KEY_OBJECTS not in encode(build_study(others))


@pytest.mark.parametrize("decision", [Decision.FRACTURE, Decision.NO_FRACTURE, Decision.UNCERTAIN])
def test_the_presentation_state_writes_the_answer_and_points_only_where_there_is_something(decision):
    (state,) = encode(build_study([image(decision)]))[ResultKind.PRESENTATION_STATE]
    (annotation,) = state.GraphicAnnotationSequence
    text = annotation.TextObjectSequence[0].UnformattedTextValue
    said = {"fracture": "Fracture suspected", "no fracture": "No fracture found", "uncertain": "Uncertain"}
    assert text.startswith(said[decision])
    assert ("The specific operating point is reached" in text) is (decision is Decision.FRACTURE)
    assert "box" not in text  # whose lines are the viewer's business here
    assert DISCLAIMER in text
    assert len(annotation.get("GraphicObjectSequence", [])) == (0 if decision is Decision.NO_FRACTURE else 2)


def test_what_was_not_analysed_has_no_presentation_state():
    results = encode(build_study([image(Decision.NOT_ANALYSED, reason="x")]))
    assert ResultKind.PRESENTATION_STATE not in results


@pytest.mark.parametrize(
    ("source", "shape"),
    [
        ({}, "IDENTITY"),
        ({"PhotometricInterpretation": "MONOCHROME1", "PresentationLUTShape": "INVERSE"}, "INVERSE"),
    ],
)
def test_the_presentation_state_keeps_window_and_polarity_of_the_source(source, shape):
    one = image(WindowCenter=[2000, 1000], WindowWidth=[4000, 500], **source)
    (state,) = encode(build_study([one]))[ResultKind.PRESENTATION_STATE]
    (voi,) = state.SoftcopyVOILUTSequence
    assert (voi.WindowCenter, voi.WindowWidth) == (2000, 4000)
    assert state.PresentationLUTShape == shape


@pytest.mark.parametrize(("center", "width"), [(None, None), ("", ""), (100, 0), (100, -5)])
def test_a_window_that_means_nothing_stops_no_presentation_state(center, width):
    assert encode(build_study([image(WindowCenter=center, WindowWidth=width)]))[ResultKind.PRESENTATION_STATE]


def test_a_source_without_identifiers_gets_every_form():
    results = encode(build_study([image(**BARE)]))
    assert set(FURTHER) <= set(results)


def test_every_form_says_whose_it_is_and_when():
    for kind, objects in encode(build_study([image()])).items():
        for ds in objects:
            assert is_own_result(ds), kind
            assert ds.SpecificCharacterSet == "ISO_IR 192"
            assert len(ds.ContributingEquipmentSequence) == 1 + len(MODELS)
            assert ds.InstanceCreationDate == "20260102"
            assert "Research use only" in ds.SeriesDescription
            day = ds.get("ContentDate") or ds.PresentationCreationDate
            assert day == "20260102"


def test_each_kind_has_a_series_of_its_own():
    results = encode(build_study([image(InstanceNumber=1), image(InstanceNumber=2)]))
    series = {kind: {ds.SeriesInstanceUID for ds in objects} for kind, objects in results.items()}
    assert series.pop(ResultKind.SUMMARY) == series[ResultKind.SECONDARY_CAPTURE]
    assert all(len(uids) == 1 for uids in series.values())
    assert len({uid for uids in series.values() for uid in uids}) == len(series) == 5
    numbers = {ds.SeriesNumber for objects in results.values() for ds in objects}
    assert numbers == {9001, 9002, 9201, 9301, 9401}


def test_only_what_is_wanted_is_encoded_and_the_captures_always():
    study = build_study([image()])
    assert set(encode(study, ())) == {ResultKind.SUMMARY, ResultKind.SECONDARY_CAPTURE}
    assert not set(encode(study, DEFAULT_ENCODINGS)) & set(FURTHER)
    assert set(encode(study, (Encoding.KEY_OBJECTS,))) & set(FURTHER) == {ResultKind.KEY_OBJECTS}
    note = {ResultKind.SUMMARY, ResultKind.SECONDARY_CAPTURE, ResultKind.REJECTION_NOTE}
    assert list_kinds(()) == note
    assert list_kinds((Encoding.REPORT,)) == note | {ResultKind.ENCAPSULATED_PDF}


def test_a_further_form_that_cannot_be_encoded_costs_no_other(monkeypatch, caplog):
    def fail(origin):
        raise ValueError(origin.header.PatientName)

    monkeypatch.setattr(dicom_node.encode.results, "encode_structured_report", fail)
    results = encode(build_study([image(PatientName="Canary^Anne")]))
    assert set(ResultKind) - set(results) == {ResultKind.STRUCTURED_REPORT, ResultKind.REJECTION_NOTE}
    assert "ValueError" in caplog.text
    assert "Canary" not in caplog.text


def test_an_image_whose_marks_cannot_be_encoded_does_not_cost_the_others_theirs(monkeypatch):
    def fail_at_first(origin, image, *, number):
        if number == 1:
            raise ValueError("Canary")
        return encode_presentation_state(origin, image, number=number)

    monkeypatch.setattr(dicom_node.encode.results, "encode_presentation_state", fail_at_first)
    first, second = image(), image()
    results = encode(build_study([first, second]))
    (state,) = results[ResultKind.PRESENTATION_STATE]
    (series,) = state.ReferencedSeriesSequence
    (shown,) = series.ReferencedImageSequence
    assert shown.ReferencedSOPInstanceUID == second.instance.sop_instance_uid
    assert results[ResultKind.KEY_OBJECTS]


def test_a_picture_of_a_palette_has_no_grayscale_presentation_state():
    results = encode(build_study([image(PhotometricInterpretation="PALETTE COLOR")]))
    assert ResultKind.PRESENTATION_STATE not in results
