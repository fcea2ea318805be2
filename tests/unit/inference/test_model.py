"""A model that looks at both mirror images answers with their mean, in the orientation of the radiograph."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inference.bundle import MANIFEST, load_bundle
from inference.model import Model, add_mirror_image
from inference.preprocessing import prepare
from inference.runtime import Scores
from inference.testing import build_tiny_bundles
from inference.types import Float32Array, Radiograph


class Lopsided:
    """Sees only the left half: its logit is the brightness there, its map the pixels there."""

    def run(self, tensor: Float32Array) -> Scores:
        seen = tensor.copy()
        seen[:, :, tensor.shape[2] // 2 :] = 0
        means = seen.mean(axis=(1, 2))
        return Scores(logits=means, cam=seen, embedding=means)


def load_lopsided(folder: Path, *, mirrored: bool) -> Model:
    path = build_tiny_bundles(folder) / "tiny_fracture" / MANIFEST
    if mirrored:
        path.write_text("mirrored = true\n" + path.read_text())
    return Model(bundle=load_bundle(path.parent), runtime=Lopsided())


def test_the_answer_of_two_looks_is_their_mean_and_the_map_lies_as_the_radiograph(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).random((64, 64), np.float32)
    look, _ = load_lopsided(tmp_path, mirrored=True).run(Radiograph(pixels=pixels))
    left, right = pixels[:, :32].sum() / 4096, pixels[:, 32:].sum() / 4096
    assert look.views.logits[:, 0] == pytest.approx([left, right])
    assert look.logits[0] == pytest.approx((left + right) / 2)
    assert np.abs(look.views.cam.mean(axis=0)[..., 0] - pixels / 2).max() < 1e-6
    assert look.embedding == pytest.approx([left])


def test_a_model_that_does_not_say_so_looks_once(tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).random((64, 64), np.float32)
    look, _ = load_lopsided(tmp_path, mirrored=False).run(Radiograph(pixels=pixels))
    assert look.views.logits.shape == (1, 1)
    assert np.array_equal(look.views.cam[0, :, :32, 0], pixels[:, :32])
    assert not look.views.cam[0, :, 32:].any()


def test_a_pair_is_answered_as_its_members_are(tmp_path: Path) -> None:
    model = Model.load(load_bundle(build_tiny_bundles(tmp_path) / "tiny_fracture"), runtime="onnx", threads=1)
    radiograph = Radiograph(pixels=np.random.default_rng(6).random((80, 64), np.float32))
    tensor, _ = prepare(radiograph, model.bundle.preprocessing)
    pair = model.runtime.run(add_mirror_image(tensor))
    for index, member in enumerate((tensor, tensor[:, :, ::-1])):
        alone = model.runtime.run(np.ascontiguousarray(member))
        assert np.array_equal(pair.logits[index], alone.logits[0])
        assert np.array_equal(pair.cam[index], alone.cam[0])


def test_a_region_model_may_look_at_the_mirror_image_too(tmp_path: Path) -> None:
    path = build_tiny_bundles(tmp_path) / "tiny_region" / MANIFEST
    path.write_text("mirrored = true\n" + path.read_text())
    model = Model(bundle=load_bundle(path.parent), runtime=Lopsided())
    pixels = np.zeros((64, 64), np.float32)
    pixels[:, :32] = 1
    look, _ = model.run(Radiograph(pixels=pixels))
    assert look.logits == pytest.approx(0.25)
    # The scope was fitted on what radiographs are as they lie.
    assert look.embedding == pytest.approx(0.5)


def test_the_runtime_is_told_to_report_to_nobody_before_it_is_imported() -> None:
    program = (
        "import os, sys; os.environ.pop('ORT_DISABLE_TELEMETRY', None); import inference; "
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1' and 'onnxruntime' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
