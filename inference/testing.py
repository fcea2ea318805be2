"""Doubles for tests: bundles made in milliseconds, with models whose answers can be foreseen.

The tiny models look at brightness alone. The region is always the one asked for; the fracture probability rises with
the brightest spot of the radiograph and the heat map shows that spot; an image that is black all over is outside scope.
The type of every fracture is the first of those asked for, and each further one is less probable.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference.bundle import ONNX, SCOPE, write_manifest
from inference.scope import Scope
from inference.types import Task

LABELS = ("HAND", "FOREARM", "ELBOW", "HUMERUS", "SHOULDER", "HIP", "FEMUR", "KNEE", "LEG", "ANKLE_FOOT")
SIDE = 64
CELLS = 16


def build_tiny_bundles(
    folder: Path, *, region: str = "HAND", served: Sequence[str] = LABELS, types: Sequence[str] = ()
) -> Path:
    """Write a region bundle that always answers `region` and a fracture bundle that serves `served`.

    A radiograph whose 4 x 4 brightest neighbourhood (of 64 x 64) is above 0.9 is a fracture, below 0.6 it is none.
    With `types`, also a type bundle for every region: each type is e times as probable as the one after it.
    """
    preprocessing = {"image_size": SIDE, "scale": 1.0, "offset": 0.0, "padding": 0.0}
    place = _write_model(folder / "tiny_region", [10.0 * (label == region) for label in LABELS], gain=0.0)
    # The embedding is the brightest cell: 1 is the middle of the scope, 0 (all black) a distance of 1 away.
    one = np.ones((1, 1), np.float32)
    Scope(mean=one[0], axes=one, directions=one, residual_spread=1.0).save(place / SCOPE)
    fields = {"version": "0.0.1", "architecture": "tiny", "preprocessing": preprocessing}
    stage1 = {"name": "tiny-region", "task": Task.REGION, "labels": LABELS}
    write_manifest(
        place,
        fields | stage1 | {"region": {"temperature": 1.0, "scope_threshold": 0.99, "least_confidence": 0.5}},
        (ONNX, SCOPE),
    )
    place = _write_model(folder / "tiny_fracture", [-15.0], gain=20.0)
    answer = {"output": "any", "regions": served, "slope": 1.0, "intercept": 0.0, "sensitive": 0.05, "specific": 0.95}
    stage2 = {"name": "tiny-fracture", "task": Task.FRACTURE, "labels": ("any",), "answers": (answer,)}
    write_manifest(place, fields | stage2, (ONNX,))
    if types:
        place = _write_model(folder / "tiny_type", [-float(rank) for rank in range(len(types))], gain=0.0)
        stage3 = {"name": "tiny-type", "task": Task.TYPE, "labels": types, "type": {"temperature": 1.0}}
        write_manifest(place, fields | stage3, (ONNX,))
    return folder


def _write_model(place: Path, bias: Sequence[float], *, gain: float) -> Path:
    """Write a model of `logit = bias + gain * brightest cell`, its map the cells above the middle brightness."""
    from onnx import TensorProto, helper, numpy_helper, save  # noqa: PLC0415 - only tests carry onnx

    outputs = len(bias)
    nodes = [
        helper.make_node("Transpose", ["image"], ["nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["nchw"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("ReduceMax", ["cells", "hw"], ["embedding"], keepdims=0),
        helper.make_node("Mul", ["embedding", "gain"], ["evidence"]),
        helper.make_node("Add", ["evidence", "bias"], ["logits"]),
        helper.make_node("Sub", ["cells", "middle"], ["above"]),
        helper.make_node("Relu", ["above"], ["positive"]),
        helper.make_node("Expand", ["positive", "shape"], ["maps"]),
        helper.make_node("Transpose", ["maps"], ["cam"], perm=[0, 2, 3, 1]),
    ]
    weights = [
        numpy_helper.from_array(np.array([2, 3], np.int64), "hw"),
        numpy_helper.from_array(np.full((1, outputs), gain, np.float32), "gain"),
        numpy_helper.from_array(np.array([bias], np.float32), "bias"),
        numpy_helper.from_array(np.array(0.5, np.float32), "middle"),
        numpy_helper.from_array(np.array([1, outputs, CELLS, CELLS], np.int64), "shape"),
    ]
    tensors: dict[str, list[str | int | None]] = {
        "logits": ["N", outputs],
        "cam": ["N", CELLS, CELLS, outputs],
        "embedding": ["N", 1],
    }
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", SIDE, SIDE, 1])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in tensors.items()],
        weights,
    )
    place.mkdir(parents=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), place / ONNX)
    return place
