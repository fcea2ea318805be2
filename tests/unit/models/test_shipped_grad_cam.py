"""The maps that the shipped bundles answer are Grad-CAM of their own weights."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from drawn_fractures import draw_fracture
from grad_cam_by_tape import measure_difference

from inference.bundle import ONNX, load_bundle
from inference.preprocessing import Preprocessing, prepare
from inference.types import Radiograph

pytestmark = [
    pytest.mark.tensorflow,
    # Keras and TensorFlow warn about each other's internals; nothing here can mend that.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]
pytest.importorskip("tensorflow", reason="TensorFlow is not installed", exc_type=ImportError)

BUNDLES = Path(__file__).parents[3] / "models" / "bundles"


@pytest.mark.parametrize("name", ["fracture", "region"])
def test_the_shipped_export_answers_the_grad_cam_of_its_own_weights(name: str) -> None:
    from inference.bundle import KERAS
    from models.export import export_onnx
    from models.parity import load_keras

    bundle = load_bundle(BUNDLES / name)
    model = load_keras(bundle.folder / KERAS)
    # The graph asked below is the shipped one, with one more output.
    exported = export_onnx(model).SerializeToString(deterministic=True)
    assert hashlib.sha256(exported).hexdigest() == bundle.manifest.digests[ONNX]
    drawn = draw_fracture("oblique", np.random.default_rng(7)).astype(np.float32) / 255
    images, _ = prepare(Radiograph(pixels=drawn), Preprocessing(**bundle.manifest.preprocessing.model_dump()))
    difference, highest = measure_difference(model, images)
    assert highest > 0
    assert difference <= 1e-5 * highest
