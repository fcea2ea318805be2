"""Layers that move numbers and compute none, between Keras' channels last and ONNX' channels first."""

import numpy as np

from models.export.graph import Call, Graph

TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


def emit_input(graph: Graph, call: Call) -> str:
    """Bring the input to channels first."""
    return graph.add("Transpose", [call.operation.name], f"{call.name}/nchw", perm=TO_CHANNELS_FIRST)


def emit_nothing(_: Graph, call: Call) -> str:
    """Write nothing: what drops activations in training hands them on."""
    return call.inputs[0]


def emit_concatenate(graph: Graph, call: Call) -> str:
    """Write Concatenate."""
    return graph.add("Concat", call.inputs, call.name, axis=call.axis(call.operation.axis))


def emit_zero_padding(graph: Graph, call: Call) -> str:
    """Write ZeroPadding2D."""
    (top, bottom), (left, right) = call.operation.padding
    widths = graph.integers(f"{call.name}/widths", [0, 0, top, left, 0, 0, bottom, right])
    return graph.add("Pad", [*call.inputs, widths], call.name)


def emit_reshape(graph: Graph, call: Call) -> str:
    """Write Reshape of what Keras sees, channels last."""
    tensor, target = call.inputs[0], list(call.operation.target_shape)
    if len(call.shapes[0]) == 4:
        tensor = graph.add("Transpose", [tensor], f"{call.name}/nhwc", perm=TO_CHANNELS_LAST)
    if len(target) == 3 and target[:2] == [1, 1]:
        # One cell: both orders are the same numbers.
        shape = graph.integers(f"{call.name}/shape", [0, target[2], 1, 1])
        return graph.add("Reshape", [tensor, shape], call.name)
    shaped = graph.add("Reshape", [tensor, graph.integers(f"{call.name}/shape", [0, *target])], call.name)
    return graph.add("Transpose", [shaped], f"{call.name}/nchw", perm=TO_CHANNELS_FIRST) if len(target) == 3 else shaped


def emit_up_sampling(graph: Graph, call: Call) -> str:
    """Write UpSampling2D: nearest repeats cells, bilinear samples between the centres of cells.

    Raises
    ------
    ValueError
        Another interpolation.
    """
    layer = call.operation
    scales = graph.weight(f"{call.name}/scales", np.array([1, 1, *layer.size], np.float32))
    how = {
        "nearest": {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        "bilinear": {"mode": "linear", "coordinate_transformation_mode": "half_pixel"},
    }
    if layer.interpolation not in how:
        raise ValueError(f"{call.name}: no translation of the interpolation {layer.interpolation}")
    return graph.add("Resize", [*call.inputs, "", scales], call.name, **how[layer.interpolation])
