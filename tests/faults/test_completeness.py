"""A study is analysed when all of it is here, or when waiting has had its time; its report says what never came."""

import time

import pytest
from archive_bench import (
    MAX_WAIT_S,
    QUIET_S,
    Desk,
    ScriptedArchive,
    build_images,
    build_settings,
    open_store,
    silent_listener,
)
from builders import build_gsps, build_pdf, build_sc, build_sr
from pydicom.uid import generate_uid
from stored_rows import build_row

from dicom_node.assemble.study import read_study
from dicom_node.demo.archives import find_free_port
from dicom_node.identity import MANUFACTURER, MANUFACTURER_MODEL_NAME, derive_result_uid
from dicom_node.query.listing import list_images
from dicom_node.query.session import open_session
from dicom_node.store import InstanceRole

MODALITIES = ("CR", "DX", "RG")


@pytest.fixture
def desk(tmp_path):
    """Build desks at stores without a receiver."""
    stores = []

    def build(port, **options):
        stores.append(open_store(tmp_path))
        return Desk(build_settings(tmp_path, port, node_port=find_free_port(), **options), stores[-1])

    yield build
    for store in stores:
        store.close()


@pytest.fixture
def scripted():
    archives = []

    def start(*arguments, **options):
        archives.append(ScriptedArchive(*arguments, **options))
        return archives[-1]

    yield start
    for archive in archives:
        archive.stop()


def receive(store, ds, *, at=None, sender="ARCHIVE", role=InstanceRole.IMAGE):
    """Record an instance as the receiver does."""
    row = build_row(
        ds.SOPInstanceUID,
        ds.StudyInstanceUID,
        series_instance_uid=ds.SeriesInstanceUID,
        sop_class_uid=ds.SOPClassUID,
        calling_ae_title=sender,
        role=role,
        received_at=time.time() if at is None else at,
    )
    store.add_instances([row])


@pytest.mark.orthanc
@pytest.mark.fault(60)
def test_a_study_waits_until_every_image_that_the_archive_lists_has_come(site):
    """Analysis waits until every image that the archive lists has come; then the study is closed at once."""
    images = build_images(3)
    study = images[0].StudyInstanceUID
    site.keep(*images)
    site.forward(*images[:2])
    quiet = time.time() + QUIET_S + 1
    assert site.tick(quiet) == [study]
    (waiting,) = site.store.open_studies()
    assert [one.instance_number for one in waiting.expectation.missing] == [3]
    site.forward(images[2])
    assert site.tick(time.time() + QUIET_S + 1) == []
    (revision,) = site.revisions(study)
    assert len(revision.instances) == 3
    assert (revision.expectation.listed, revision.expectation.missing) == (3, ())


@pytest.mark.fault(60)
@pytest.mark.parametrize("asks", [True, False])
def test_only_a_study_whose_archive_is_asked_waits_for_more_than_quiet(desk, scripted, asks):
    """Where no archive is asked, which is the default, quiet alone closes a study; the revision says so."""
    images = build_images(3)
    study = images[0].StudyInstanceUID
    one = desk(scripted(images).port, asks=asks)
    for image in images[:2]:
        receive(one.store, image)
    assert one.tick(time.time() + QUIET_S + 1) == ([study] if asks else [])
    assert [revision.expectation for revision in one.revisions(study)] == ([] if asks else [None])


@pytest.mark.orthanc
@pytest.mark.fault(60)
def test_the_image_that_never_came_is_named_when_waiting_has_had_its_time(site):
    """After `max_wait_s` the study is analysed with what has come, and its report names what never came."""
    images = build_images(3, SeriesNumber=7)
    study = images[0].StudyInstanceUID
    site.keep(*images)
    site.forward(images[0], images[2])
    began = time.time()
    assert site.tick(began + QUIET_S + 1) == [study]
    assert site.tick(began + MAX_WAIT_S - 5) == [study]
    assert site.tick(began + MAX_WAIT_S + 1) == []
    (revision,) = site.revisions(study)
    (missing,) = revision.expectation.missing
    assert (missing.series_number, missing.instance_number, missing.modality) == (7, 2, "DX")
    assert missing.sop_instance_uid == images[1].SOPInstanceUID
    assert read_study(revision, site.settings.node.spool_dir).expectation == revision.expectation
    assert any("lists 3 images, 1 of them not here" in event for event in site.events(study))


@pytest.mark.fault(60)
def test_an_image_that_the_archive_deletes_meanwhile_is_no_longer_waited_for(desk, scripted):
    """An archive that lists what has not come is asked again, and what it no longer lists is not missing."""
    images = build_images(3)
    archive = scripted(images)
    one = desk(archive.port)
    for image in images[:2]:
        receive(one.store, image)
    now = time.time() + QUIET_S + 1
    assert one.tick(now)
    archive.images.pop()
    assert one.tick(now + 5), "it was asked again at once"
    assert one.tick(now + 31) == []
    assert one.revisions(images[0].StudyInstanceUID)[0].expectation.missing == ()


SILENCES = {
    "nothing listens": lambda: None,
    "C-FIND is refused": lambda: ScriptedArchive(find_status=0xA700),
    "C-FIND is not offered": lambda: ScriptedArchive(offers=("move",)),
}


def check_that_quiet_decides(one):
    """An archive without an answer costs one time-out, and then the quiet period decides."""
    studies = [build_images(1)[0] for _ in range(3)]
    for image in studies:
        receive(one.store, image)
    now = time.time()
    assert len(one.tick(now + QUIET_S - 1)) == 3
    began = time.monotonic()
    assert one.tick(now + QUIET_S + 1) == []
    for image in studies:
        (revision,) = one.revisions(image.StudyInstanceUID)
        assert (revision.expectation.listed, revision.expectation.missing) == (None, ())
    return time.monotonic() - began


@pytest.mark.fault(60)
@pytest.mark.parametrize("silence", SILENCES)
def test_an_archive_that_cannot_be_asked_holds_no_study_up(desk, silence):
    """Where the archive cannot be asked, time-outs decide as before, and the revision says that it was not asked."""
    archive = SILENCES[silence]()
    try:
        check_that_quiet_decides(desk(archive.port if archive else find_free_port(), timeout_s=5.0))
    finally:
        if archive:
            archive.stop()


@pytest.mark.fault(60)
@pytest.mark.parametrize("accepts", ["the connection", "the association"])
def test_an_archive_that_accepts_and_says_nothing_costs_one_time_out_for_all_studies(desk, scripted, accepts):
    """A silent archive costs one time-out for all the studies that are due, not one for each."""
    with silent_listener() as silent_port:
        port = silent_port if accepts == "the connection" else scripted(silent_s=15.0).port
        took_s = check_that_quiet_decides(desk(port, timeout_s=4.0))
    assert 4.0 <= took_s < 3 * 4.0


@pytest.mark.fault(60)
def test_an_archive_that_never_ends_its_answer_is_given_up(desk, scripted, monkeypatch):
    """An answer without end is no answer: the association is aborted, and time-outs decide."""
    monkeypatch.setattr("dicom_node.c_find._MOST_MATCHES", 5)
    images = build_images(6)
    one = desk(scripted(images).port)
    receive(one.store, images[0])
    assert one.tick(time.time() + QUIET_S + 1) == []
    assert one.revisions(images[0].StudyInstanceUID)[0].expectation.listed is None


@pytest.mark.orthanc
@pytest.mark.fault(42, 60)
def test_only_images_that_this_node_takes_are_counted(site):
    """Own results, whatever the archive calls them, reports and presentation states are neither counted nor awaited."""
    images = build_images(2)
    same = {"StudyInstanceUID": images[0].StudyInstanceUID}
    overwritten = generate_uid()
    others = [
        build_sc(**same, Modality="OT", Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME),
        build_sc(**same, Modality="DX", Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME),
        build_sc(**same, Modality="DX", Manufacturer="PACS Ltd", SeriesInstanceUID=overwritten),
        build_sc(**same, Modality="DX", Manufacturer="PACS Ltd", SeriesInstanceUID=derive_result_uid("a series")),
        build_sc(**same, Modality="DX", Manufacturer="PACS Ltd", SOPInstanceUID=derive_result_uid("an instance")),
        build_pdf(**same, Manufacturer=MANUFACTURER, ManufacturerModelName=MANUFACTURER_MODEL_NAME),
        build_sr(**same),
        build_gsps(images[0], SeriesInstanceUID=images[0].SeriesInstanceUID, Modality="DX"),
    ]
    site.keep(*images, *others)
    with open_session(site.settings.destinations[0], "FRACTUREAI") as session:
        counted, unknown = (
            {
                one.sop_instance_uid
                for one in list_images(session, same["StudyInstanceUID"], modalities=MODALITIES, own_series=own)
            }
            for own in ([overwritten], [])
        )
    wanted = {ds.SOPInstanceUID for ds in images}
    assert counted == wanted
    assert unknown == wanted | {others[2].SOPInstanceUID}, "only its series says that it is ours"


@pytest.mark.fault(60)
def test_a_result_that_comes_back_neither_opens_a_study_nor_is_asked_about(desk, scripted):
    """A result of this node that the archive sends back asks the archive nothing."""
    archive = scripted(build_images(1))
    one = desk(archive.port)
    receive(one.store, build_images(1)[0], role=InstanceRole.OWN_RESULT)
    assert one.tick(time.time() + QUIET_S + 1) == []
    assert archive.finds == []


@pytest.mark.fault(60)
def test_an_image_just_before_each_time_out_is_ended_by_the_longest_wait(desk):
    """Where each image comes a second before quiet, the study is closed every `max_wait_s`, with all that is there."""
    one = desk(find_free_port(), asks=False)
    images = build_images(45)
    began, closed_at = time.time(), []
    for number, image in enumerate(images):
        now = began + number * (QUIET_S - 1)
        known = len(one.store.status(100))
        one.tick(now, asks=False)
        if len(one.store.status(100)) > known:
            closed_at.append(now - began)
        receive(one.store, image, at=now)
    assert [round(at / MAX_WAIT_S) for at in closed_at] == [1, 2, 3]
    assert all(at % MAX_WAIT_S < 2 * QUIET_S * (number + 1) for number, at in enumerate(closed_at))
    revisions = one.revisions(images[0].StudyInstanceUID)
    assert [revision.version for revision in revisions] == [1, 2, 3]
    assert [len(revision.instances) for revision in revisions] == [round(at / (QUIET_S - 1)) for at in closed_at]


@pytest.mark.fault(60)
def test_a_study_that_never_goes_quiet_is_asked_about_before_it_is_closed(desk, scripted):
    """Where images drip in until `max_wait_s`, the archive is asked meanwhile: the report knows what never came."""
    images = build_images(20)
    one = desk(scripted(images).port)
    began = time.time()
    for number, image in enumerate(images[:16]):
        now = began + number * (QUIET_S - 1)
        one.tick(now)
        receive(one.store, image, at=now)
    revisions = one.revisions(images[0].StudyInstanceUID)
    assert [revision.version for revision in revisions] == [1]
    assert revisions[0].expectation.listed == 20
    assert len(revisions[0].expectation.missing) == 20 - len(revisions[0].instances)


@pytest.mark.fault(60)
def test_a_late_image_opens_the_study_again_and_the_archive_is_asked_anew(desk, scripted):
    """An image after completion makes version 2 of the study, which the archive is asked about again."""
    images = build_images(3)
    archive = scripted(images[:2])
    one = desk(archive.port)
    for image in images[:2]:
        receive(one.store, image)
    assert one.tick(time.time() + QUIET_S + 1) == []
    archive.images.append(images[2])
    receive(one.store, images[2])
    assert one.tick(time.time() + QUIET_S + 1) == []
    revisions = one.revisions(images[0].StudyInstanceUID)
    assert [(one.version, one.expectation.listed, len(one.instances)) for one in revisions] == [(1, 2, 2), (2, 3, 3)]


@pytest.mark.orthanc
@pytest.mark.fault(19)
def test_two_senders_of_one_study_and_several_associations_make_one_study(site):
    """Images of one study from two senders, interleaved, are one study with each image once; each restarts the wait."""
    images = build_images(6)
    study = images[0].StudyInstanceUID
    site.keep(*images)
    arrivals = []
    for number, image in enumerate(images):
        site.forward(image, calling=("ARCHIVE", "MODALITY")[number % 2])
        (waiting,) = site.store.open_studies()
        arrivals.append(waiting.last_received_at)
        assert site.tick(waiting.last_received_at + QUIET_S - 1) == [study]
    assert arrivals == sorted(set(arrivals))
    assert waiting.senders == ("ARCHIVE", "MODALITY")
    assert site.tick(arrivals[-1] + QUIET_S + 1) == []
    (revision,) = site.revisions(study)
    assert {row.sop_instance_uid for row in revision.instances} == {ds.SOPInstanceUID for ds in images}
    assert len(revision.instances) == 6


@pytest.mark.fault(24, 60)
def test_an_archive_is_asked_on_time_when_the_clock_is_set_back(desk, scripted, monkeypatch):
    """After the clock was set back an hour, a study is asked about as soon as it is quiet, not an hour later."""
    images = build_images(1)
    archive = scripted(images)
    one = desk(archive.port)
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600)
    receive(one.store, images[0], at=time.time() - QUIET_S - 1)
    one.asking._listening_since -= QUIET_S + 1  # noqa: SLF001  # as if it had listened for so long
    one.asking()
    assert archive.finds
