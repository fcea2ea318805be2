"""Every accepted study ends in something visible: missing, altered and unforeseen included."""

import time

import pytest
from builders import build_sr
from result_bench import build_small_dx, patient_id_bytes

from dicom_node.assemble import study
from dicom_node.assemble.study import ALTERED, read_study
from dicom_node.durable import hash_data_set
from dicom_node.encode.summary import render_summary
from dicom_node.errors import FILE_DAMAGED
from dicom_node.result_sets import CRASHED, UNFORESEEN, ResultSets
from dicom_node.settings import DEFAULT_ENCODINGS, HeaderPolicy
from dicom_node.statistics.counting import NO_REGION, gather_statistics
from dicom_node.statistics.recording import name_reason
from dicom_node.store import InstanceRole, Store
from inference.types import Decision


def two_images(node):
    """Receive a study of two images; returns both data sets and both files."""
    first = build_small_dx(PatientName="Wren^Jenny", PatientID="JW-1")
    second = build_small_dx(
        PatientName="Wren^Jenny", PatientID="JW-1", StudyInstanceUID=first.StudyInstanceUID, InstanceNumber=2
    )
    return first, second, node.receive(first), node.receive(second)


def decisions(node):
    return {finding.sop_instance_uid: (finding.decision, finding.reason) for finding in node.findings}


def test_a_sound_study_is_analysed_and_made_once(node):
    first, second, *_ = two_images(node)
    made = node.make(first.StudyInstanceUID)
    assert [ds.Modality for ds in made] == ["OT", "OT", "OT", "DOC"]
    assert all(decision != Decision.NOT_ANALYSED for decision, _ in decisions(node).values())
    assert set(decisions(node)) == {first.SOPInstanceUID, second.SOPInstanceUID}


def test_every_image_of_a_study_is_in_the_statistics_as_the_models_said(node):
    first, _, file, _ = two_images(node)
    file.write_bytes(b"")
    before = time.time()
    node.make(first.StudyInstanceUID)
    found = gather_statistics(node.store, weeks=2, now=time.time() + 1)
    assert [(one.name, one.images) for one in found.regions if one.name != NO_REGION] == [("LEG", 1)]
    assert found.total.images == 2
    assert found.reasons == ((name_reason(ALTERED), 1),)
    assert found.total.times.versions == 1
    distances = node.store.scope_distances("tiny-region 0.0.1", before - 1)
    assert (len(distances.values), distances.studies) == (1, 1)


def test_what_the_configuration_says_of_header_against_pixels_is_done(node, pipeline):
    ds = build_small_dx(BodyPartExamined="HAND")  # the models here see a leg in everything
    node.receive(ds)
    node.results = ResultSets(
        node.settings, node.store, pipeline, {"archive": DEFAULT_ENCODINGS}, policy=HeaderPolicy.ABSTAIN
    )
    assert [made.Modality for made in node.make(ds.StudyInstanceUID)] == ["OT", "DOC"]
    said = "The header says HAND, but the image looks like LEG: not analysed, as configured"
    assert decisions(node) == {ds.SOPInstanceUID: ("not analysed", said)}


@pytest.mark.fault(70)
def test_a_flipped_bit_keeps_its_image_from_the_models_and_the_report_says_so(node):
    first, second, file, _ = two_images(node)
    spoiled = bytearray(file.read_bytes())
    spoiled[-100] ^= 0x10
    file.write_bytes(spoiled)
    made = node.make(first.StudyInstanceUID)
    assert [ds.Modality for ds in made] == ["OT", "OT", "DOC"]
    assert decisions(node)[first.SOPInstanceUID] == ("not analysed", ALTERED)
    assert decisions(node)[second.SOPInstanceUID][0] != "not analysed"


@pytest.mark.fault(70)
def test_without_its_digest_an_altered_file_would_be_analysed(node, monkeypatch):
    """The negative control."""
    first, _, file, _ = two_images(node)
    whole = hash_data_set(file)
    spoiled = bytearray(file.read_bytes())
    spoiled[-100] ^= 0x10
    file.write_bytes(spoiled)
    monkeypatch.setattr(study, "hash_data_set", lambda _path: whole)
    node.make(first.StudyInstanceUID)
    assert decisions(node)[first.SOPInstanceUID][0] != "not analysed"


def test_an_altered_file_that_names_another_patient_does_not_split_the_study(node):
    first, _, file, _ = two_images(node)
    file.write_bytes(file.read_bytes().replace(b"JW-1", b"XX-9"))
    made = node.make(first.StudyInstanceUID)
    assert {patient_id_bytes(ds) for ds in made} == {b"JW-1"}
    assert len(made) == 3


@pytest.mark.fault(70)
def test_a_study_of_one_altered_file_still_gets_its_report(node):
    ds = build_small_dx()
    file = node.receive(ds)
    file.write_bytes(file.read_bytes()[:-7])
    (_, report) = node.make(ds.StudyInstanceUID)
    assert patient_id_bytes(report) == b"PHANTOM-1"
    assert decisions(node) == {ds.SOPInstanceUID: ("not analysed", ALTERED)}


@pytest.mark.fault(70)
@pytest.mark.parametrize("loss", ["removed", "a folder", "emptied"])
def test_a_missing_file_costs_its_own_image_alone(node, loss):
    first, second, file, _ = two_images(node)
    file.unlink()
    if loss == "a folder":
        file.mkdir()
    elif loss == "emptied":
        file.write_bytes(b"")
    made = node.make(first.StudyInstanceUID)
    assert [ds.Modality for ds in made] == ["OT", "OT", "DOC"]
    assert {patient_id_bytes(ds) for ds in made} == {b"JW-1"}
    assert decisions(node)[first.SOPInstanceUID] == ("not analysed", ALTERED if loss == "emptied" else FILE_DAMAGED)
    assert decisions(node)[second.SOPInstanceUID][0] != "not analysed"


def test_a_study_of_which_no_file_is_left_still_gets_its_report(node):
    first, _, *files = two_images(node)
    for file in files:
        file.unlink()
    (_, report) = node.make(first.StudyInstanceUID)
    assert report.StudyInstanceUID == first.StudyInstanceUID
    assert set(decisions(node).values()) == {("not analysed", FILE_DAMAGED)}


def test_what_is_unforeseen_becomes_a_report_for_every_image_and_no_text_of_it_is_logged(node, monkeypatch, caplog):
    first, *_ = two_images(node)

    def fail(*_):
        raise RuntimeError(str(first.PatientName))

    monkeypatch.setattr("dicom_node.result_sets.select_radiographs", fail)
    (_, report) = node.make(first.StudyInstanceUID)
    assert (report.PatientID, str(report.PatientName), report.Modality) == ("JW-1", "Wren^Jenny", "DOC")
    assert set(decisions(node).values()) == {("not analysed", UNFORESEEN)}
    assert "RuntimeError" in caplog.text
    assert "Wren" not in caplog.text


def test_an_analysis_that_cannot_be_encoded_becomes_a_report_too(node, monkeypatch):
    first, *_ = two_images(node)
    monkeypatch.setattr("dicom_node.encode.results.render_overlay", lambda *_, **__: None)
    (_, report) = node.make(first.StudyInstanceUID)
    assert report.Modality == "DOC"
    assert set(decisions(node).values()) == {("not analysed", UNFORESEEN)}


def test_what_was_written_before_the_encoding_failed_is_removed(node, monkeypatch):
    """Overlays are written one by one; the report that replaces them must not lie beside some of them."""
    first, *_ = two_images(node)
    calls = []

    def fail_at_first(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            assert len(list(node.settings.results_dir.rglob("*.dcm"))) == 2
            raise RuntimeError
        return render_summary(*arguments)

    monkeypatch.setattr("dicom_node.encode.results.render_summary", fail_at_first)
    made = node.make(first.StudyInstanceUID)
    assert {ds.Modality for ds in made} == {"OT", "DOC"}
    assert len(list(node.settings.results_dir.rglob("*.dcm"))) == len(made)


def test_a_full_disk_is_no_reason_to_give_a_study_up(node, monkeypatch):
    first, *_ = two_images(node)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dicom_node.result_sets.write_durably", fail)
        with pytest.raises(OSError, match="No space"):
            node.make(first.StudyInstanceUID)
    assert [ds.Modality for ds in node.make(first.StudyInstanceUID)] == ["OT", "OT", "OT", "DOC"]


def test_a_study_that_took_the_process_down_is_reported_without_opening_its_images(node, monkeypatch):
    first, *_ = two_images(node)
    monkeypatch.setattr("dicom_node.result_sets.analyse_study", None)
    (_, report) = node.make(first.StudyInstanceUID, cautious=True)
    assert report.PatientID == "JW-1"
    assert set(decisions(node).values()) == {("not analysed", CRASHED)}


def test_instances_are_known_by_the_uids_that_were_checked_when_they_came(node):
    first, *_ = two_images(node)
    node.make(first.StudyInstanceUID)
    revision = node.store.revision(first.StudyInstanceUID, node.store.status(1)[0].digest)
    study = read_study(revision, node.settings.spool_dir)
    assert {one.sop_instance_uid for one in study.instances} == {row.sop_instance_uid for row in revision.instances}


@pytest.mark.fault(59)
@pytest.mark.parametrize("cautious", [False, True])
def test_results_made_again_without_the_database_are_the_same_objects_though_a_report_has_come_since(
    node, pipeline, cautious
):
    """A database that was lost does not know that the report was not there: it is listed, and the UIDs stay."""
    image = build_small_dx()
    node.receive(image)
    made = node.make(image.StudyInstanceUID)
    late = build_sr(StudyInstanceUID=image.StudyInstanceUID, PatientID=image.PatientID)
    node.store.close()
    for path in node.settings.data_dir.glob("node.sqlite*"):
        path.unlink()
    node.store = Store(f"sqlite:///{node.settings.data_dir / 'node.sqlite'}")
    node.results = ResultSets(node.settings, node.store, pipeline, {"archive": DEFAULT_ENCODINGS})
    node.receive(image)
    node.receive(late, role=InstanceRole.OTHER)
    again = node.make(image.StudyInstanceUID, cautious=cautious)
    assert late.SOPInstanceUID in decisions(node)
    known = {ds.SOPInstanceUID for ds in made}
    assert {ds.SOPInstanceUID for ds in again} <= known
    assert {ds.SeriesInstanceUID for ds in again} <= {ds.SeriesInstanceUID for ds in made}
    assert cautious or len(again) == len(known)
