"""Objects that are no images: part of a study that waits, and never the reason that it waits for ever."""

import time

import pytest
from builders import build_dx, build_gsps, build_pdf, build_sr
from pydicom import Dataset
from receiving import kept_files, status

from dicom_node.assemble.completeness import close_complete_studies
from dicom_node.receive.status import StoreStatus
from dicom_node.receive.storage_scp import Receiver
from dicom_node.settings import CompletionSettings
from dicom_node.store import Store

pytestmark = pytest.mark.fault(41)

QUIET_S, MAX_WAIT_S = 10, 60


def keep_sending(
    receiver: Receiver, store: Store, monkeypatch: pytest.MonkeyPatch, *, max_wait_s: float
) -> tuple[Dataset, float | None]:
    """Send an image, then for five minutes a report or presentation state a second before quiet, by the node's clock.

    Returns the image, and after how many seconds the study was closed; None where it was not.
    """
    image, clock, past_s = build_dx(), time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: clock() + past_s)
    began = time.time()
    completion = CompletionSettings(quiet_s=QUIET_S, max_wait_s=max_wait_s)
    assert status(receiver, image) == StoreStatus.SUCCESS
    of_study = {"StudyInstanceUID": image.StudyInstanceUID, "PatientID": image.PatientID}
    for number in range(300 // (QUIET_S - 1)):
        past_s += QUIET_S - 1
        close_complete_studies(store, completion, time.time(), listening_since=0)
        if not store.open_studies():
            return image, time.time() - began
        build = (build_sr, build_gsps)[number % 2]
        assert status(receiver, build(**of_study)) == StoreStatus.SUCCESS
    return image, None


def test_reports_and_presentation_states_without_end_hold_a_study_open_for_max_wait_s_and_no_longer(
    receiver: Receiver, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each restarts the quiet period while images may still come; the longest wait ends it, and nothing is lost."""
    image, closed_s = keep_sending(receiver, store, monkeypatch, max_wait_s=MAX_WAIT_S)
    assert closed_s is not None
    assert MAX_WAIT_S <= closed_s < MAX_WAIT_S + 2 * QUIET_S
    (revision,) = store.unmade_revisions()
    members = store.revision(image.StudyInstanceUID, revision.digest).instances
    assert len(members) == len(kept_files(receiver))


def test_without_the_longest_wait_they_would_hold_it_open_for_ever(
    receiver: Receiver, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control."""
    assert keep_sending(receiver, store, monkeypatch, max_wait_s=10**6)[1] is None


@pytest.mark.parametrize("build", [build_sr, build_gsps, build_pdf])
def test_what_is_no_image_opens_no_study_that_was_closed(
    receiver: Receiver, store: Store, build: type[Dataset]
) -> None:
    image = build_dx()
    of_study = {"StudyInstanceUID": image.StudyInstanceUID, "PatientID": image.PatientID}
    assert status(receiver, image) == StoreStatus.SUCCESS
    store.close_revision(image.StudyInstanceUID, time.time())
    assert status(receiver, build(**of_study)) == StoreStatus.SUCCESS
    assert len(kept_files(receiver)) == 2
    assert store.open_studies() == []
    assert status(receiver, build_dx(**of_study)) == StoreStatus.SUCCESS
    assert len(store.open_studies()) == 1
