"""Layers that compute each number by itself."""

import math
from typing import Any

import keras
import numpy as np

from models.export.graph import Call, Graph


def activate(graph: Graph, function: Any, tensor: str, name: str) -> str:
    """Write a Keras activation function behind a tensor.

    Raises
    ------
    ValueError
        It has no translation here.
    """
    kind = keras.activations.serialize(function)
    if kind == "linear":
        return tensor
    if kind in {"relu", "sigmoid"}:
        return graph.add(kind.capitalize(), [tensor], f"{name}/{kind}")
    if kind == "silu":
        gate = graph.add("Sigmoid", [tensor], f"{name}/gate")
        return graph.add("Mul", [tensor, gate], f"{name}/silu")
    if kind == "gelu":
        return _gelu(graph, tensor, name)
    raise ValueError(f"{name}: no translation of the activation {kind}")


def _gelu(graph: Graph, tensor: str, name: str) -> str:
    """Write x (1 + erf(x / sqrt 2)) / 2."""
    root = graph.number("gelu/root", math.sqrt(2))
    one = graph.number("gelu/one", 1.0)
    half = graph.number("gelu/factor", 0.5)
    error = graph.add("Erf", [graph.add("Div", [tensor, root], f"{name}/scaled")], f"{name}/erf")
    product = graph.add("Mul", [tensor, graph.add("Add", [error, one], f"{name}/raised")], f"{name}/product")
    return graph.add("Mul", [product, half], f"{name}/gelu")


def emit_activation(graph: Graph, call: Call) -> str:
    """Write Activation."""
    return activate(graph, call.operation.activation, call.inputs[0], call.name)


def emit_relu(graph: Graph, call: Call) -> str:
    """Write ReLU, with its upper bound if it has one."""
    bound = call.operation.max_value
    if bound is None:
        return graph.add("Relu", call.inputs, call.name)
    low = graph.number(f"{call.name}/low", 0.0)
    high = graph.number(f"{call.name}/high", bound)
    return graph.add("Clip", [*call.inputs, low, high], call.name)


def emit_sign(graph: Graph, call: Call) -> str:
    """Write -1, 0 or 1."""
    return graph.add("Sign", call.inputs, call.name)


def emit_add(graph: Graph, call: Call) -> str:
    """Write the sum of two or more tensors."""
    return _fold(graph, "Add", call)


def emit_multiply(graph: Graph, call: Call) -> str:
    """Write the product of two or more tensors."""
    return _fold(graph, "Mul", call)


def _fold(graph: Graph, operator: str, call: Call) -> str:
    if len({len(shape) for shape in call.shapes}) != 1:
        raise ValueError(f"{call.name}: tensors of different rank")
    total, *rest = call.inputs
    for index, tensor in enumerate(rest):
        total = graph.add(operator, [total, tensor], f"{call.name}/{index}" if index else call.name)
    return total


def emit_rescaling(graph: Graph, call: Call) -> str:
    """Write scale * x + offset, each a number or one for every channel."""
    scale = graph.weight(f"{call.name}/scale", _by_channel(call.operation.scale, call))
    offset = graph.weight(f"{call.name}/offset", _by_channel(call.operation.offset, call))
    scaled = graph.add("Mul", [*call.inputs, scale], f"{call.name}/scaled")
    return graph.add("Add", [scaled, offset], call.name)


def emit_normalization(graph: Graph, call: Call) -> str:
    """Write (x - mean) / sqrt(variance)."""
    layer = call.operation
    deviation = np.maximum(np.sqrt(np.asarray(layer.variance)), keras.config.epsilon())
    mean = graph.weight(f"{call.name}/mean", _by_channel(np.asarray(layer.mean).squeeze(), call))
    divisor = graph.weight(f"{call.name}/deviation", _by_channel(deviation.squeeze(), call))
    centred = graph.add("Sub", [*call.inputs, mean], f"{call.name}/centred")
    return graph.add("Div", [centred, divisor], call.name)


def emit_pooled_cam(graph: Graph, call: Call) -> str:
    """Write relu(scale * cells) / (h w)."""
    (scale,) = call.operation.get_weights()
    _, rows, columns, _ = call.shapes[0]
    if rows is None or columns is None:
        raise ValueError(f"{call.name}: a map of unknown size")
    share = graph.weight(f"{call.name}/share", _by_channel(scale / (rows * columns), call))
    return graph.add("Relu", [graph.add("Mul", [*call.inputs, share], f"{call.name}/scaled")], call.name)


def _by_channel(values: Any, call: Call) -> Any:
    """Return numbers so that they meet the channels of a map in ONNX' order."""
    array = np.array(values, np.float32)
    return array.reshape(-1, 1, 1) if array.ndim == 1 and len(call.shapes[0]) == 4 else array
