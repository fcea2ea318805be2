"""The node's own results come back: any one of three marks is enough to know them, and nobody is answered twice."""

import json
import urllib.request
import uuid
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import pytest
from analyses import build_image, build_study
from builders import build_cr, build_dx, phantom
from PIL import Image
from pydicom import dcmread
from pydicom.uid import UID, generate_uid
from receiving import status

from dicom_node.analyse.picture import wrap_picture
from dicom_node.assemble.selection import select_radiographs
from dicom_node.demo.archives import OrthancArchive, find_free_port
from dicom_node.encode.results import encode_study
from dicom_node.identity import derive_result_uid, derive_uid, is_result_uid
from dicom_node.receive.status import StoreStatus
from dicom_node.settings import Encoding
from dicom_node.store import InstanceRole, StoredResult
from dicom_node.values import Instance, ResultKind, Study

pytestmark = pytest.mark.fault(42)

STUDY = "1.2.3"
EQUIPMENT = ("Manufacturer", "ManufacturerModelName", "ContributingEquipmentSequence")


@pytest.fixture(params=[str(kind) for kind in ResultKind if kind is not ResultKind.REJECTION_NOTE])
def result(request):
    """A result as an archive has it: written and read again."""
    encoded = encode_study(
        build_study([build_image(build_dx(StudyInstanceUID=STUDY))]), ae_title="FRACTUREAI", encodings=tuple(Encoding)
    )
    (ds,) = [one.ds for one in encoded if one.kind == request.param]
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def record(store, ds):
    """Put an object into the table of results."""
    row = StoredResult(
        sop_instance_uid=ds.SOPInstanceUID,
        sop_class_uid=ds.SOPClassUID,
        series_instance_uid=ds.SeriesInstanceUID,
        kind="encapsulated pdf",
        path="x",
    )
    store.add_results(STUDY, "0", [row], [], [])


def forget_uids(ds, *keywords):
    for keyword in keywords or ("SOPInstanceUID", "SeriesInstanceUID"):
        setattr(ds, keyword, generate_uid())
    ds.InstanceCreatorUID = generate_uid()
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID


def forget_equipment(ds):
    ds.Manufacturer, ds.ManufacturerModelName = "Archive", "1.0"
    del ds.ContributingEquipmentSequence


def role(receiver, ds):
    assert status(receiver, ds) == StoreStatus.SUCCESS
    return receiver.archive.store.find_instance(ds.SOPInstanceUID).role


def test_the_uids_alone_are_enough(receiver, result):
    """Equipment overwritten, database empty, moved to another study: known by the mark in its UIDs."""
    forget_equipment(result)
    result.StudyInstanceUID = generate_uid()
    assert role(receiver, result) == InstanceRole.OWN_RESULT
    assert receiver.archive.store.open_studies() == []


@pytest.mark.parametrize("kept", ["SOPInstanceUID", "SeriesInstanceUID", "InstanceCreatorUID"])
def test_any_one_of_the_uids_is_enough(receiver, result, kept):
    """An archive gave new UIDs to all but one."""
    uid = result[kept].value
    forget_equipment(result)
    forget_uids(result)
    setattr(result, kept, uid)
    assert role(receiver, result) == InstanceRole.OWN_RESULT


@pytest.mark.parametrize("kept", ["Manufacturer", "ContributingEquipmentSequence"])
def test_the_equipment_alone_is_enough(receiver, result, kept):
    """All UIDs and the study new, database empty: known by General or by Contributing Equipment."""
    forget_uids(result)
    result.StudyInstanceUID = generate_uid()
    if kept == "Manufacturer":
        del result.ContributingEquipmentSequence
    else:
        result.Manufacturer, result.ManufacturerModelName = "Archive", "1.0"
    assert role(receiver, result) == InstanceRole.OWN_RESULT
    assert receiver.archive.store.open_studies() == []


@pytest.mark.parametrize("kept", ["SOPInstanceUID", "SeriesInstanceUID"])
def test_the_table_of_results_alone_is_enough(receiver, store, result, kept):
    """UIDs without the mark, as of an earlier release, and equipment overwritten: known by the table."""
    forget_equipment(result)
    forget_uids(result)
    record(store, result)
    forget_uids(result, *({"SOPInstanceUID", "SeriesInstanceUID"} - {kept}))
    assert role(receiver, result) == InstanceRole.OWN_RESULT


def test_without_any_mark_a_result_is_another_programs_and_still_opens_no_study(receiver, store, result):
    """The control: all three marks removed, the object is kept as one of others; a closed study stays closed."""
    assert status(receiver, build_dx(phantom(64, 48), StudyInstanceUID=STUDY)) == StoreStatus.SUCCESS
    store.close_revision(STUDY, 1.0)
    forget_equipment(result)
    forget_uids(result)
    assert role(receiver, result) == InstanceRole.OTHER
    assert store.open_studies() == []


def test_foreign_uids_are_not_taken_for_results():
    """Random UUIDs, our own UIDs of other things, and results' UIDs with one bit changed have no mark."""
    uids = [f"2.25.{uuid.uuid4().int}" for _ in range(2000)] + [generate_uid() for _ in range(100)]
    uids += [derive_uid("picture", str(n)) for n in range(100)]
    mine = derive_result_uid("pdf", "1")
    number = int(mine.removeprefix("2.25."))
    uids += [f"2.25.{number ^ 1 << bit}" for bit in range(128)]
    uids += ["", "2.25.", "2.25.x", "2.25.-1", f"2.26.{number}", f"1.2.25.{number}", f"2.25.{number + (1 << 128)}"]
    uids.append(f"2.25.{'9' * 5000}")
    assert not [uid for uid in uids if is_result_uid(uid)]
    assert all(is_result_uid(derive_result_uid(str(n))) for n in range(2000))
    assert is_result_uid(f"{mine}\0")
    assert mine.is_valid
    assert len(mine) <= 64
    parsed = uuid.UUID(int=number)
    assert (parsed.variant, number >> 76 & 0xF) == (uuid.RFC_4122, 8)


def test_a_wrapped_picture_is_no_result(tmp_path, receiver):
    """What this software makes of a photograph to be analysed carries none of the marks."""
    Image.fromarray(phantom(64, 48, bits=8).astype("uint8")).save(tmp_path / "a.png")
    assert role(receiver, wrap_picture(tmp_path / "a.png")) == InstanceRole.IMAGE


@pytest.mark.parametrize("build", [build_dx, build_cr])
@pytest.mark.parametrize(
    ("image_type", "opens"), [(["DERIVED", "SECONDARY"], False), (["DERIVED", "PRIMARY"], True), (None, True)]
)
def test_another_programs_copy_in_the_class_of_a_radiograph_opens_no_study_again(
    receiver, store, build, image_type, opens
):
    """An AI's annotated copy sent as DX or CR says SECONDARY: kept, and not answered; a late radiograph is."""
    assert status(receiver, build(phantom(64, 48), StudyInstanceUID=STUDY)) == StoreStatus.SUCCESS
    store.close_revision(STUDY, 1.0)
    late = build(phantom(64, 48), StudyInstanceUID=STUDY, ImageType=image_type)
    assert role(receiver, late) == (InstanceRole.IMAGE if opens else InstanceRole.OTHER)
    assert bool(store.open_studies()) is opens


def test_a_study_of_nothing_but_secondary_images_is_answered_once(receiver, store):
    """Where SECONDARY images are all there is, the study gets its report, which says why, and no second one."""
    first = build_dx(phantom(64, 48), StudyInstanceUID=STUDY, ImageType=["DERIVED", "SECONDARY"])
    assert role(receiver, first) == InstanceRole.OTHER
    assert len(store.open_studies()) == 1
    store.close_revision(STUDY, 1.0)
    assert len(store.unmade_revisions()) == 1
    assert role(receiver, build_dx(StudyInstanceUID=STUDY, ImageType=first.ImageType)) == InstanceRole.OTHER
    assert store.open_studies() == []


def test_an_own_result_inside_a_study_is_left_out_by_each_mark_of_its_header(result):
    """Selection knows an own result by its UIDs or its equipment, and says so in the report."""
    for forget in (forget_equipment, forget_uids):
        ds = dcmread(BytesIO(_written(result)))
        forget(ds)
        study = Study(
            study_instance_uid=STUDY,
            revision="0",
            version=1,
            created_at=datetime(2026, 1, 2, tzinfo=UTC),
            instances=(Instance(path=Path("x.dcm"), header=ds),),
        )
        (excluded,) = select_radiographs(study).excluded
        assert excluded.reason == "It is a result of this node."


def _written(ds):
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    archive = OrthancArchive(tmp_path_factory.mktemp("orthanc"), find_free_port(), extra={"LuaScripts": []})
    archive.start()
    yield archive
    archive.stop()


CHANGES = {
    "anonymised": ("Study", "anonymize", {}),
    "anonymised, keeping no equipment": ("Study", "anonymize", {"Remove": list(EQUIPMENT)}),
    "given to another patient": ("Patient", "modify", {"Replace": {"PatientID": "OTHER"}, "Force": True}),
    "stamped by the archive": ("Study", "modify", {"Replace": {"Manufacturer": "PACS"}, "Remove": list(EQUIPMENT[1:])}),
}


@pytest.mark.orthanc
@pytest.mark.parametrize("change", CHANGES)
def test_what_orthanc_makes_of_a_result_is_known_or_opens_nothing(receiver, store, result, orthanc, change):
    """Orthanc anonymises and modifies whole studies: new UIDs, another study or patient; nothing is analysed again."""
    level, how, options = CHANGES[change]
    uploaded = json.loads(orthanc.post("/instances", _written(result)))
    route = {"Study": "/studies", "Patient": "/patients"}[level]
    answer = orthanc.post(f"{route}/{uploaded[f'Parent{level}']}/{how}", json.dumps(options).encode())
    changed = f"{route}/{json.loads(answer)['ID']}"
    instances = json.loads(orthanc.get(f"{changed}/instances"))
    assert status(receiver, build_dx(phantom(64, 48), StudyInstanceUID=STUDY)) == StoreStatus.SUCCESS
    store.close_revision(STUDY, 1.0)
    for instance in instances:
        ds = dcmread(BytesIO(orthanc.get(f"/instances/{instance['ID']}/file")))
        assert ds.SOPInstanceUID != result.SOPInstanceUID
        assert ds.StudyInstanceUID != STUDY
        bare = "equipment" in change
        assert role(receiver, ds) == (InstanceRole.OTHER if bare else InstanceRole.OWN_RESULT)
    if not bare:
        assert store.open_studies() == []
    delete(orthanc, f"/studies/{uploaded['ParentStudy']}", changed)


def delete(orthanc, *paths):
    for path in paths:
        request = urllib.request.Request(f"http://127.0.0.1:{orthanc.http_port}{path}", method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310  # Orthanc's own


def test_the_marks_are_uids_that_an_archive_accepts():
    """A marked UID is an ordinary one: valid, derived, the same for the same parts, another for others."""
    assert derive_result_uid("a", "b") == derive_result_uid("a", "b")
    assert len({derive_result_uid("a", str(n)) for n in range(1000)}) == 1000
    assert UID(derive_result_uid("a")).is_valid
