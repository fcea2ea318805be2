"""One Study Instance UID, several patients: a result would be filed under one of them."""

import time
from collections.abc import Callable

import pytest
from builders import build_dx, build_sr, phantom
from pydicom import Dataset, dcmread
from receiving import kept_files, status

from dicom_node.alerts.conditions import Condition, Kind, find_conditions
from dicom_node.operate.alerts import show_alerts
from dicom_node.operate.metrics import NodeCollector
from dicom_node.receive.status import StoreStatus
from dicom_node.receive.storage_scp import Receiver
from dicom_node.result_sets import ResultSets
from dicom_node.settings import DEFAULT_ENCODINGS, Settings
from dicom_node.store import RevisionState, Store
from inference.pipeline import Pipeline
from inference.testing import build_tiny_bundles

pytestmark = pytest.mark.fault(28)

A_WEEK_S = 7 * 86_400


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    return Pipeline.load(build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG"), threads=1)


@pytest.fixture
def settings(build_settings: Callable[..., Settings]) -> Settings:
    return build_settings()


@pytest.fixture
def alarms(receiver: Receiver, store: Store, settings: Settings, pipeline: Pipeline) -> Callable[..., list[Condition]]:
    """Send objects of one study, make its results, and list what the operator is told of patients."""

    def analyse(*objects: Dataset, after_s: float = 0) -> list[Condition]:
        kept = len(kept_files(receiver))
        for ds in objects:
            ds.StudyInstanceUID = objects[0].StudyInstanceUID
            assert status(receiver, ds) == StoreStatus.SUCCESS
        assert len(kept_files(receiver)) == kept + len(objects)
        store.close_revision(objects[0].StudyInstanceUID, time.time())
        (revision,) = store.unmade_revisions()
        results = ResultSets(settings.node, store, pipeline, {"archive": DEFAULT_ENCODINGS})
        results.make(revision.study_instance_uid, revision.digest)
        store.set_revision_state(revision.study_instance_uid, revision.digest, RevisionState.DELIVERING)
        found = find_conditions(settings, store, time.time() + after_s)
        return [one for one in found if one.kind is Kind.PATIENTS]

    return analyse


def build_of(patient_id: str, **attributes: str) -> Dataset:
    return build_dx(phantom(96, 72), PatientID=patient_id, **attributes)


def decisions(store: Store) -> set[str]:
    return {finding.decision for finding in store.status(1)[0].findings}


def test_two_patient_ids_in_one_study_are_taken_not_analysed_and_told_to_the_operator(
    store: Store, alarms: Callable[..., list[Condition]]
) -> None:
    first, second = build_of("CANARY-1", PatientName="Zyxwv^Canary"), build_of("CANARY-2")
    (alarm,) = alarms(first, second)
    assert decisions(store) == {"not analysed"}
    assert alarm.says == "1 study carries several Patient IDs, so nothing of it is analysed"
    assert alarm.since == pytest.approx(time.time(), abs=60)
    # Who it is stays at the node, and the patients' names are nowhere.
    assert alarm.details == (first.StudyInstanceUID,)
    assert first.StudyInstanceUID not in alarm.says + alarm.remedy
    assert "CANARY" not in str(alarm).upper()


@pytest.mark.parametrize(("first", "late"), [("A", "B"), ("AB", "A")])
def test_it_is_told_of_a_late_image_as_well_and_each_patient_gets_a_result(
    store: Store, settings: Settings, alarms: Callable[..., list[Condition]], first: str, late: str
) -> None:
    """A late image of another patient is told too, and each patient gets a result, though of one nothing is new."""
    before = [build_of(patient_id) for patient_id in first]
    assert len(alarms(*before)) == len(first) - 1
    study = before[0].StudyInstanceUID
    assert len(alarms(build_of(late, StudyInstanceUID=study))) == 1
    assert decisions(store) == {"not analysed"}
    newest = store.status(1)[0]
    made = [dcmread(settings.node.results_dir / row.path) for row in store.results_of(study, newest.digest)]
    assert newest.version == 2
    assert sorted((ds.PatientID, ds.Modality) for ds in made) == [
        (of, modality) for of in "AB" for modality in ("DOC", "OT")
    ]


def test_status_and_metrics_say_it_too(
    store: Store,
    settings: Settings,
    alarms: Callable[..., list[Condition]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = build_of("A"), build_of("B")
    alarms(first, second)
    assert show_alerts(settings, as_json=True) == 1
    shown = capsys.readouterr().out
    assert '"kind": "several patients"' in shown
    assert first.StudyInstanceUID in shown
    samples = [sample for metric in NodeCollector(settings, store).collect() for sample in metric.samples]
    assert [one.value for one in samples if one.labels == {"kind": "several patients"}] == [1]


@pytest.mark.parametrize("other", [{"BodyPartExamined": "CHEST"}, {"Modality": "MG"}])
def test_it_is_told_although_none_of_the_images_would_be_analysed_anyway(
    alarms: Callable[..., list[Condition]], other: dict[str, str]
) -> None:
    assert len(alarms(build_of("A", **other), build_of("B", **other))) == 1


def test_a_report_of_another_patient_is_enough(alarms: Callable[..., list[Condition]]) -> None:
    assert len(alarms(build_of("A"), build_sr(PatientID="B"))) == 1


def test_one_patient_is_analysed_and_no_alarm(store: Store, alarms: Callable[..., list[Condition]]) -> None:
    """The negative control, with the padding and the image outside scope that make no other patient."""
    assert alarms(build_of("A"), build_of("A "), build_of("A", BodyPartExamined="CHEST")) == []
    assert "not analysed" in decisions(store)
    assert decisions(store) - {"not analysed"}


@pytest.mark.parametrize(("after_s", "told"), [(A_WEEK_S - 60, 1), (A_WEEK_S + 60, 0)])
def test_it_is_told_for_a_week(alarms: Callable[..., list[Condition]], after_s: float, told: int) -> None:
    """The node cannot see that it was mended: nothing that comes later makes one patient of two."""
    assert len(alarms(build_of("A"), build_of("B"), after_s=after_s)) == told
