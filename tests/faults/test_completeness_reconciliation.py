"""A study that the archive never sent is searched for, fetched, and analysed once; a broken archive is not flooded."""

import time

import pytest
from archive_bench import EVERY_S, QUIET_S, Desk, ScriptedArchive, build_images, build_settings, open_store
from pydicom.uid import generate_uid
from stored_rows import build_row

from dicom_node.demo.archives import find_free_port
from dicom_node.errors import AssociationError
from dicom_node.operate.status import show_status
from dicom_node.query.reconciliation import Reconciliation
from dicom_node.query.session import open_session
from dicom_node.silence import Silence


@pytest.fixture
def build(tmp_path):
    """Build a desk beside a scripted archive."""
    built = []

    def build_one(images, *, reconcile=None, **script):
        archive, store = ScriptedArchive(images, **script), open_store(tmp_path)
        built.append((archive, store))
        settings = build_settings(tmp_path, archive.port, node_port=find_free_port(), **(reconcile or {}))
        return archive, Desk(settings, store)

    yield build_one
    for archive, store in built:
        archive.stop()
        store.close()


@pytest.mark.orthanc
@pytest.mark.fault(60)
def test_a_study_that_was_never_forwarded_is_fetched_and_becomes_one_revision(site):
    """A study that the archive lists and never sent is fetched by C-MOVE, whole, and closed once."""
    images = build_images(3)
    study = images[0].StudyInstanceUID
    site.keep(*images)
    now = time.time()
    site.search(now)
    assert site.store.received_uids(study) == set(), "the archive's own forwarding comes first"
    site.search(now + EVERY_S)
    assert site.store.received_uids(study) == {ds.SOPInstanceUID for ds in images}
    assert site.tick(time.time() + QUIET_S + 1) == []
    site.search(now + 2 * EVERY_S)
    site.search(now + 3 * EVERY_S)
    (revision,) = site.revisions(study)
    assert (len(revision.instances), revision.expectation.listed) == (3, 3)
    assert [event for event in site.events(study) if "fetching" in event] == [
        "fetching 3 images that archive never sent, try 1 of 5"
    ]


@pytest.mark.orthanc
@pytest.mark.fault(25, 60)
def test_a_study_that_is_fetched_twice_is_one_study(site):
    """What C-MOVE sends again is known: no new revision, each image once."""
    images = build_images(2)
    study, series = images[0].StudyInstanceUID, images[0].SeriesInstanceUID
    site.keep(*images)
    for _ in range(2):
        with open_session(site.settings.destinations[0], "FRACTUREAI") as session:
            session.move_series(study, series)
        assert site.tick(time.time() + QUIET_S + 1) == []
    (revision,) = site.revisions(study)
    assert len(revision.instances) == 2


@pytest.mark.orthanc
@pytest.mark.fault(60)
def test_the_image_that_never_came_is_fetched_and_makes_the_second_version(site):
    """A study that was closed without an image that the archive has is completed: version 2 has all of it."""
    images = build_images(2)
    study = images[0].StudyInstanceUID
    site.keep(*images)
    site.forward(images[0])
    site.store.close_revision(study, time.time())
    site.search(time.time())
    site.search(time.time() + EVERY_S)
    assert site.tick(time.time() + QUIET_S + 1) == []
    assert [(one.version, len(one.instances)) for one in site.revisions(study)] == [(1, 1), (2, 2)]


@pytest.mark.orthanc
@pytest.mark.fault(60)
def test_only_recent_studies_of_the_wanted_modalities_are_fetched(site):
    """Old studies and other modalities are left where they are."""
    yesterday = time.localtime(time.time() - 10 * 3600)
    recent = build_images(1, StudyDate=time.strftime("%Y%m%d", yesterday), StudyTime=time.strftime("%H%M%S", yesterday))
    old = build_images(1, StudyDate="20200101")
    ultrasound = build_images(1, Modality="US")
    site.keep(*recent, *old, *ultrasound)
    for number in range(2):
        site.search(time.time() + number * EVERY_S)
    assert [len(site.store.received_uids(one[0].StudyInstanceUID)) for one in (recent, old, ultrasound)] == [1, 0, 0]


@pytest.mark.fault(60)
def test_a_study_that_is_coming_in_is_left_to_its_sender(build):
    """What is open or still growing in the archive is not fetched beside its own forwarding."""
    images = build_images(2)
    for number, image in enumerate(images, start=1):
        image.NumberOfStudyRelatedInstances = number
    archive, desk = build(images[:1])
    now = time.time()
    desk.search(now)
    archive.images[:] = images[1:]
    desk.search(now + EVERY_S)
    assert archive.moves == [], "it has grown since the search before"
    desk.search(now + 2 * EVERY_S)
    assert len(archive.moves) == 1


FAILURES = {"destination unknown": 0xA801, "out of resources": 0xA702, "some images failed": 0xB000}


@pytest.mark.fault(60)
@pytest.mark.parametrize("failure", FAILURES)
def test_a_study_that_cannot_be_fetched_is_tried_a_few_times_ever_more_rarely(build, failure, capsys):
    """A failing C-MOVE is tried `tries` times with doubled waits, each noted, and then left to a person."""
    images = build_images(1)
    archive, desk = build(images, reconcile={"tries": 3}, move_status=FAILURES[failure])
    now, tried_at = time.time(), []
    for number in range(10):
        known = len(archive.moves)
        desk.search(now + number * EVERY_S)
        if len(archive.moves) > known:
            tried_at.append(number)
    assert tried_at == [1, 2, 4], "after one, two and four periods"
    events = desk.events(images[0].StudyInstanceUID)
    assert [event for event in events if "fetching" in event] == [
        f"fetching 1 image that archive never sent, try {number} of 3" for number in (1, 2, 3)
    ]
    told = [event for event in events if "could not be fetched" in event]
    assert [f"0x{FAILURES[failure]:04X}" in event for event in told] == [True] * 3
    assert events[-1] == "1 image never came in 3 tries; archive must forward the study by hand"
    show_status(desk.settings, limit=10, as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert images[0].StudyInstanceUID in shown
    assert "archive: 1 study lacks images that it lists and does not send" in shown
    assert "forward them by hand" in shown


@pytest.mark.fault(60)
def test_an_archive_that_says_success_and_sends_nothing_is_not_believed(build):
    """A C-MOVE that is answered with Success brings nothing by itself: the next search looks again."""
    images = build_images(1)
    archive, desk = build(images, reconcile={"tries": 2})
    for number in range(6):
        desk.search(time.time() + number * EVERY_S)
    assert len(archive.moves) == 2
    assert desk.events(images[0].StudyInstanceUID)[-1].startswith("1 image never came in 2 tries")


@pytest.mark.fault(60)
@pytest.mark.parametrize("is_listed", [True, False], ids=["recent", "older than `hours`"])
def test_the_alarm_ends_when_what_never_came_was_forwarded_by_hand(build, is_listed):
    """A study that was given up is not fetched again, but compared when more of it has come: then the alarm ends."""
    images = build_images(2)
    study = images[0].StudyInstanceUID
    archive, desk = build(images, reconcile={"tries": 1})
    now = time.time()
    for number in range(4):
        desk.search(now + number * EVERY_S)
    if not is_listed:
        now += 3 * 86_400

    def compares(at):
        known = len(archive.finds)
        desk.search(at)
        return any(keys.QueryRetrieveLevel == "SERIES" for keys in archive.finds[known:])

    for number, image in enumerate(images, start=4):
        assert [one.study_instance_uid for one in desk.store.given_up_retrievals(tries=1)] == [study]
        came_at = now + number * EVERY_S
        desk.store.add_instances([build_row(image.SOPInstanceUID, study, received_at=came_at)])
        assert not compares(came_at + 1), "it is still coming in"
        desk.store.close_revision(study, came_at + 2)
        archive.chokes_on = {study}
        assert compares(came_at + 3)
        archive.chokes_on = set()
        assert compares(came_at + 4), "it could not be asked about before"
        assert not compares(came_at + 5), "nothing has come since"
    assert desk.store.given_up_retrievals(tries=1) == []
    assert len(archive.moves) == 1


@pytest.mark.fault(60)
def test_a_broken_archive_is_not_flooded(build):
    """One search makes three failing fetches at most, however many studies are missing."""
    archive, desk = build([build_images(1)[0] for _ in range(8)], move_status=0xA702)
    for number in range(2):
        desk.search(time.time() + number * EVERY_S)
    assert len(archive.moves) == 3
    desk.search(time.time() + 2 * EVERY_S)
    assert len({study for _, study in archive.moves[3:]} - {study for _, study in archive.moves[:3]}) >= 1, (
        "a study that fails does not block those behind it"
    )


@pytest.mark.fault(60)
def test_studies_that_cannot_be_asked_about_do_not_block_the_others(build):
    """Where the archive chokes on some studies, the next search is for the rest, and no try of theirs is used up."""
    images = [build_images(1, StudyTime=f"00{number:02}00")[0] for number in range(4)]
    archive, desk = build(images)
    archive.chokes_on = {image.StudyInstanceUID for image in images[:3]}
    for number in range(3):
        desk.search(time.time() + number * EVERY_S)
    assert [study for _, study in archive.moves] == [images[3].StudyInstanceUID]
    assert desk.store.find_retrieval("archive", images[0].StudyInstanceUID).tries == 0


@pytest.mark.fault(60)
def test_no_more_than_so_many_studies_are_fetched_in_one_search(build):
    """After an outage the missing studies are fetched in portions, oldest first."""
    images = [build_images(1, StudyTime=f"00{number:02}00")[0] for number in range(5)]
    archive, desk = build(list(reversed(images)), reconcile={"at_once": 2})
    for number in range(2):
        desk.search(time.time() + number * EVERY_S)
    assert [study for _, study in archive.moves] == [image.StudyInstanceUID for image in images[:2]]


@pytest.mark.fault(60)
def test_an_archive_that_is_away_ends_the_search_without_harm(tmp_path, caplog):
    """A search that finds nobody is a warning; the next one is the retry."""
    store = open_store(tmp_path)
    desk = Desk(build_settings(tmp_path, find_free_port(), node_port=find_free_port(), timeout_s=3.0), store)
    with pytest.raises(AssociationError):
        desk.search(time.time())
    desk.reconciliation()
    assert "could not search" in caplog.text
    store.close()


@pytest.mark.fault(60)
def test_since_when_an_archive_cannot_be_searched_is_marked_for_the_operator(build, monkeypatch):
    """The mark is as old as the first search that failed, whatever the reason, and goes when one goes well."""
    images = [build_images(1)[0] for _ in range(2)]
    archive, desk = build(images)
    silence = Silence(desk.settings.node.search_silence("archive"))
    archive.find_status = 0xC001
    desk.reconciliation()
    since = silence.since
    monkeypatch.setattr("dicom_node.query.reconciliation.list_recent_studies", lambda *_, **__: 1 / 0)
    desk.reconciliation()
    monkeypatch.undo()
    assert silence.since == since is not None
    archive.find_status = 0x0000
    desk.reconciliation()
    assert silence.since is None
    archive.chokes_on = {images[0].StudyInstanceUID}
    desk.reconciliation()
    since = silence.since
    desk.reconciliation()  # not due again yet: what was not answered then is not answered now
    assert silence.since == since is not None
    archive.images.remove(images[0])
    desk.reconciliation()
    assert silence.since is None
    silence.note(answers=False)
    Reconciliation(desk.settings, desk.settings.reconcile, desk.store, desk.settings.destinations[0])
    assert silence.since is None, "what is marked is of this process"


@pytest.mark.fault(31, 60)
@pytest.mark.parametrize("uid", ["../../../x", "1.2\n3", "1." + "2" * 70, ""])
def test_a_uid_that_is_none_is_neither_fetched_nor_written_down(build, uid):
    """An archive that lists something else than UIDs is not repeated, neither to itself nor to the log."""
    images = build_images(1, StudyInstanceUID=uid) + build_images(1, StudyInstanceUID=generate_uid())
    archive, desk = build(images)
    for number in range(2):
        desk.search(time.time() + number * EVERY_S)
    assert [study for _, study in archive.moves] == [images[1].StudyInstanceUID]
