"""Layers and operations that take the mean or the maximum of many numbers."""

from collections.abc import Iterable

import numpy as np

from models.export.graph import Call, Graph


def emit_average_pooling(graph: Graph, call: Call) -> str:
    """Write AveragePooling2D; padding does not count."""
    return _pool(graph, "AveragePool", call)


def emit_max_pooling(graph: Graph, call: Call) -> str:
    """Write MaxPooling2D."""
    return _pool(graph, "MaxPool", call)


def _pool(graph: Graph, operator: str, call: Call) -> str:
    layer = call.operation
    return graph.add(
        operator,
        call.inputs,
        call.name,
        auto_pad="SAME_UPPER" if layer.padding == "same" else "VALID",
        kernel_shape=list(layer.pool_size),
        strides=list(layer.strides),
    )


def emit_global_mean(graph: Graph, call: Call) -> str:
    """Write GlobalAveragePooling2D."""
    return _reduce(graph, "ReduceMean", call, axes=(1, 2), keepdims=call.operation.keepdims)


def emit_global_max(graph: Graph, call: Call) -> str:
    """Write GlobalMaxPooling2D."""
    return _reduce(graph, "ReduceMax", call, axes=(1, 2), keepdims=call.operation.keepdims)


def emit_mean(graph: Graph, call: Call) -> str:
    """Write `keras.ops.mean`."""
    return _reduce(graph, "ReduceMean", call, axes=_axes(call), keepdims=call.operation.keepdims)


def emit_max(graph: Graph, call: Call) -> str:
    """Write `keras.ops.max`."""
    return _reduce(graph, "ReduceMax", call, axes=_axes(call), keepdims=call.operation.keepdims)


def _axes(call: Call) -> tuple[int, ...]:
    axis = call.operation.axis
    if len(call.shapes[0]) == 4 and not call.operation.keepdims:
        raise ValueError(f"{call.name}: what is left of a map has another order of axes here")
    return (axis,) if isinstance(axis, int) else tuple(axis)


def _reduce(graph: Graph, operator: str, call: Call, *, axes: Iterable[int], keepdims: bool) -> str:
    placed = graph.integers(f"{call.name}/axes", [call.axis(axis) for axis in axes])
    return graph.add(operator, [*call.inputs, placed], call.name, keepdims=int(keepdims))


def emit_log_sum_exp(graph: Graph, call: Call) -> str:
    """Write scale * log(sum over the map of exp(cell)) + offset."""
    scale, offset = call.operation.get_weights()
    axes = graph.integers(f"{call.name}/axes", [2, 3])
    pooled = graph.add("ReduceLogSumExp", [*call.inputs, axes], f"{call.name}/pooled", keepdims=0)
    scaled = graph.add("Mul", [pooled, graph.weight(f"{call.name}/scale", np.asarray(scale))], f"{call.name}/scaled")
    return graph.add("Add", [scaled, graph.weight(f"{call.name}/offset", np.asarray(offset))], call.name)
