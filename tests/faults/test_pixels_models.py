"""Models that hang, die or answer nonsense cost the image its answer; a study that makes them do so is left alone."""

import os
import signal
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import caged_work
import numpy as np
import onnxruntime
import psutil
import pytest
from analysing import CLEAR, LEG, ScriptedPipeline, stored, study_of
from builders import build_dx, phantom
from running import wait_for

from dicom_node.analyse.analysis import LEFT_ALONE, analyse_instance, analyse_study
from dicom_node.analyse.cage import Cage
from dicom_node.analyse.caged_pipeline import CagedPipeline
from dicom_node.analyse.pixels import load_radiograph, to_radiograph
from dicom_node.assemble.selection import select_radiographs
from dicom_node.errors import CageError
from dicom_node.settings import AnalysisSettings, ModelSettings
from inference.errors import BundleError, UnsupportedImageError
from inference.pipeline import Pipeline
from inference.runtime import OnnxRuntime, Scores
from inference.testing import build_tiny_bundles
from inference.types import Decision, FracturePrediction, Radiograph, TypePrediction

pytestmark = pytest.mark.fault(64)

CPU = "CPUExecutionProvider"
PATIENT_S = 120
"""For what is not about time: enough for a machine that is busy with other things."""


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return build_tiny_bundles(tmp_path_factory.mktemp("bundles"), region="LEG")


@pytest.fixture(scope="module")
def caged(bundles):
    models = ModelSettings(bundles=bundles, threads=1)
    with closing(CagedPipeline(models, AnalysisSettings(models_limit_s=PATIENT_S))) as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def radiograph():
    return to_radiograph(build_dx(phantom(96, 72)))


def test_models_run_on_the_processor_whatever_else_the_machine_has(bundles, monkeypatch):
    """Where ONNX Runtime could use a GPU it is not asked to, so that none can be missing when it counts."""
    asked = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", CPU])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, **how: asked.append(how["providers"]) or session(path, options, **how),
    )
    Pipeline.load(bundles, threads=1)
    assert asked
    assert all(providers == [CPU] for providers in asked)


class WeakModels(ScriptedPipeline):
    """Models in a cage that some radiographs are too much for: see `caged_work.answer`."""

    def __init__(self, cage):
        super().__init__()
        self._cage = cage

    def analyse(self, radiograph, *, region=None):
        assert region is None
        return self._cage.call(caged_work.answer, radiograph)


@pytest.fixture
def weak_models(monkeypatch):
    """Return models that are soon given up."""
    monkeypatch.setenv("PYTHONPATH", str(Path(caged_work.__file__).parent))
    with closing(Cage("the models' process", caged_work.prepare, limit_s=1.5)) as cage:
        cage.wait_until_ready()
        yield WeakModels(cage)


def test_models_in_a_cage_say_what_they_say_outside(caged, bundles, radiograph):
    outside = Pipeline.load(bundles, threads=1)
    there, here = caged.analyse(radiograph), outside.analyse(radiograph)
    assert caged.models == outside.models
    assert (there.heatmap == here.heatmap).all()
    assert replace(there, heatmap=None) == replace(here, heatmap=None)
    assert caged.analyse(radiograph, region="HAND").fracture == outside.analyse(radiograph, region="HAND").fracture
    with pytest.raises(UnsupportedImageError, match="fewer than"):
        caged.analyse(Radiograph(pixels=np.ones((4, 4), np.float32)))


def test_a_bundle_that_is_missing_refuses_the_start(tmp_path):
    with pytest.raises(BundleError, match="no bundle in"):
        CagedPipeline(ModelSettings(bundles=tmp_path), AnalysisSettings())


def test_models_that_are_killed_are_started_again_and_answer(caged, radiograph):
    """Models that the system killed where memory ran out are loaded again; only what they worked on is asked again."""
    pid = caged.pid
    os.kill(pid, signal.SIGKILL)
    # A process is over when the last of its threads is; until then it cannot be waited for.
    over = os.WEXITED | os.WNOWAIT | os.WNOHANG
    wait_for("they are dead", lambda: os.waitid(os.P_PID, pid, over) is not None, within_s=PATIENT_S)
    assert caged.analyse(radiograph).fracture is not None
    assert caged.pid != pid


def test_models_that_hang_are_stopped_at_their_limit_and_the_image_is_tried_again(bundles, tmp_path):
    """Models that hang once are stopped after `models_limit_s`; those started in their place analyse the image."""
    models = ModelSettings(bundles=bundles, threads=1)
    with closing(CagedPipeline(models, AnalysisSettings(models_limit_s=10))) as pipeline:
        hanging = psutil.Process(pipeline.pid)
        os.kill(pipeline.pid, signal.SIGSTOP)
        study = study_of(stored(build_dx(phantom(96, 72)), tmp_path))
        (image,) = analyse_study(study, select_radiographs(study), pipeline).images
    assert not hanging.is_running()
    assert image.analysis.fracture is not None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (caged_work.HANGING, "took longer than 1.5 s"),
        (caged_work.CRASHING, "crashed (SIGSEGV)"),
        (caged_work.EATING, "was killed, as a system does that runs out of memory (SIGKILL)"),
    ],
)
def test_an_image_that_the_models_cannot_stand_is_not_analysed_and_the_others_are(weak_models, tmp_path, rows, said):
    """An image over which the models crash, hang or run out of memory at every try is "not analysed", it alone."""
    study = study_of(*(stored(build_dx(phantom(height, 72)), tmp_path) for height in (rows, caged_work.SOUND)))
    images = analyse_study(study, select_radiographs(study), weak_models).images
    poison, sound = sorted((image for image in images), key=lambda image: image.shown.rows)
    assert poison.analysis.decision is Decision.NOT_ANALYSED
    assert poison.analysis.reason == f"The models could not analyse the image: the models' process {said}."
    assert sound.analysis.decision is Decision.NO_FRACTURE


def test_a_study_that_kills_the_models_again_and_again_is_left_alone_and_the_next_is_analysed(weak_models, tmp_path):
    """A study may kill the models as often as `crashes_per_study` says; its other images are then not opened."""
    poison = study_of(*(stored(build_dx(phantom(caged_work.CRASHING, 72)), tmp_path) for _ in range(4)))
    sound = study_of(stored(build_dx(phantom(caged_work.SOUND, 72)), tmp_path))
    settings = AnalysisSettings(tries_per_image=2, crashes_per_study=4)
    images = analyse_study(poison, select_radiographs(poison), weak_models, settings=settings).images
    assert [image.analysis.reason == LEFT_ALONE for image in images] == [False, False, True, True]
    assert {image.analysis.decision for image in images} == {Decision.NOT_ANALYSED}
    (image,) = analyse_study(sound, select_radiographs(sound), weak_models, settings=settings).images
    assert image.analysis.decision is Decision.NO_FRACTURE


def test_without_a_second_try_one_loss_decides(tmp_path):
    """The negative control of trying again: with `tries_per_image = 1` the first loss of the models is the answer."""
    calls = []

    def lose(radiograph, *, region):
        calls.append((radiograph.rows, region))
        raise CageError("the models' process crashed")

    pipeline = ScriptedPipeline()
    pipeline.analyse = lose
    study = study_of(stored(build_dx(), tmp_path))
    for tries in (1, 2):
        calls.clear()
        analyse_study(study, select_radiographs(study), pipeline, settings=AnalysisSettings(tries_per_image=tries))
        assert len(calls) == tries


NAN = float("nan")


@pytest.mark.parametrize(
    "nonsense",
    [
        {"region": replace(LEG, confidence=NAN)},
        {"region": replace(LEG, probabilities={"LEG": NAN})},
        {"fracture": FracturePrediction(probability=NAN, sensitive_threshold=0.1, specific_threshold=0.9)},
        {"fracture": FracturePrediction(probability=1.5, sensitive_threshold=0.1, specific_threshold=0.9)},
        {"fracture_type": TypePrediction(label="OBLIQUE", confidence=NAN, probabilities={})},
    ],
)
def test_an_answer_that_is_no_number_is_no_answer(nonsense, tmp_path):
    """An answer with NaN, infinity or a probability above 1 in it becomes "not analysed"."""
    pipeline = ScriptedPipeline(lambda _: replace(CLEAR, **nonsense))
    image = analyse_instance(stored(build_dx(), tmp_path), pipeline)
    assert image.analysis.decision is Decision.NOT_ANALYSED
    assert image.analysis.reason == "The models gave no usable answer: a probability that is none."


def test_models_that_answer_nan_do_not_answer(bundles, tmp_path, monkeypatch):
    """Networks that answer NaN end in "not analysed"; the models alone would pass it on as a decision."""
    pipeline = Pipeline.load(bundles, threads=1)
    run = OnnxRuntime.run

    def give_nan(self, tensor):
        scores = run(self, tensor)
        return Scores(logits=scores.logits * NAN, cam=scores.cam * NAN, embedding=scores.embedding)

    monkeypatch.setattr(OnnxRuntime, "run", give_nan)
    instance = stored(build_dx(), tmp_path)
    image = analyse_instance(instance, pipeline)
    assert image.analysis.decision is Decision.NOT_ANALYSED
    assert pipeline.analyse(load_radiograph(instance.path)).decision is not Decision.NOT_ANALYSED


@pytest.mark.parametrize("nonsense", [NAN, np.inf])
def test_a_heat_map_that_holds_what_is_no_number_is_withheld_and_the_prediction_stays(
    bundles, tmp_path, monkeypatch, nonsense
):
    pipeline = Pipeline.load(bundles, threads=1)
    run = OnnxRuntime.run

    def spoil(self, tensor):
        scores = run(self, tensor)
        cam = scores.cam.copy()
        cam[:, 0, 0] = nonsense
        return Scores(logits=scores.logits, cam=cam, embedding=scores.embedding)

    instance = stored(build_dx(), tmp_path)
    sound = analyse_instance(instance, pipeline).analysis
    monkeypatch.setattr(OnnxRuntime, "run", spoil)
    spoiled = analyse_instance(instance, pipeline).analysis
    assert spoiled.decision is sound.decision
    assert (spoiled.rois, spoiled.heatmap_peak) == ((), None)
    assert spoiled.heatmap is None or not spoiled.heatmap.any()
