"""Out of fold a closer look is taken as serving takes it."""

from pathlib import Path

import numpy as np
import pytest

from inference.bundle import MANIFEST, load_bundle
from inference.model import Model
from inference.preprocessing import Letterbox, Preprocessing
from inference.testing import build_tiny_bundles
from inference.types import Float32Array, Radiograph, Task
from models.second_looks import SecondLook, Seen

RADIOGRAPH = Radiograph(pixels=np.random.default_rng(3).random((300, 200), np.float32))


@pytest.mark.parametrize("mirrored", [False, True])
def test_it_says_what_the_model_says_that_is_served(tmp_path: Path, *, mirrored: bool) -> None:
    path = build_tiny_bundles(tmp_path) / "tiny_fracture" / MANIFEST
    path.write_text(f"second_look = 0.6\nmirrored = {str(mirrored).lower()}\n{path.read_text()}")
    model = Model.load(load_bundle(path.parent), runtime="onnx", threads=1)

    def answer(tensor: Float32Array) -> dict[str, Float32Array]:
        said = model.runtime.run(tensor)
        return {"fracture_logits": said.logits, "fracture_cam": said.cam, "fracture_embedding": said.embedding}

    first, box = model.run(RADIOGRAPH)
    again = SecondLook(answer=answer, task=Task.FRACTURE, preprocessing=model.bundle.preprocessing, share=0.6)
    seen, (part,) = again.look(RADIOGRAPH.pixels, box, Seen(first.views.logits, first.views.cam))
    served = model.look_for("any", RADIOGRAPH)
    assert len(seen.logits) == 1 + mirrored
    assert np.array_equal(seen.logits[:, 0], served.logits)
    assert np.array_equal(seen.cams[..., 0], served.cams)
    assert tuple(part) == served.box.exposed
    assert served.box.exposed != box.exposed


def test_outputs_that_are_hottest_in_other_places_look_there_and_alike_ones_are_asked_once() -> None:
    asked = []

    def answer(tensor: Float32Array) -> dict[str, Float32Array]:
        asked.append(tensor)
        shapes = {"logits": (1, 3), "cam": (1, 4, 4, 3), "embedding": (1, 1)}
        return {f"fracture_{name}": np.full(shape, 2.0, np.float32) for name, shape in shapes.items()}

    again = SecondLook(
        answer=answer,
        task=Task.FRACTURE,
        preprocessing=Preprocessing(image_size=64, scale=1.0, offset=0.0),
        share=0.5,
    )
    cams = np.zeros((1, 4, 4, 3), np.float32)
    cams[0, 0, 1, :2] = 1
    cams[0, 3, 2, 2] = 1
    box = Letterbox.around(RADIOGRAPH, size=64)
    seen, parts = again.look(RADIOGRAPH.pixels, box, Seen(np.array([[0.0, 4.0, 8.0]], np.float32), cams))
    assert len(asked) == 2
    assert seen.logits.tolist() == [[1.0, 3.0, 5.0]]
    assert np.array_equal(parts[0], parts[1])
    assert parts[0][0] == 0
    assert parts[2][1] == 300
