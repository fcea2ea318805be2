"""Layers over tokens (N, tokens, channels)."""

import math
from typing import Any

import numpy as np

from models.export.graph import Call, Graph


def emit_layer_norm(graph: Graph, call: Call) -> str:
    """Write LayerNormalization over the channels of tokens."""
    layer = call.operation
    if len(call.shapes[0]) == 4:
        raise ValueError(f"{call.name}: layer normalisation of a map")
    gamma, beta = layer.get_weights()
    weights = [graph.weight(f"{layer.name}/gamma", gamma), graph.weight(f"{layer.name}/beta", beta)]
    return graph.add("LayerNormalization", [*call.inputs, *weights], call.name, axis=-1, epsilon=layer.epsilon)


def emit_attention(graph: Graph, call: Call) -> str:
    """Write MultiHeadAttention of queries on values, softmax(Q K^T / sqrt(d)) V (Vaswani et al., equation 1)."""
    layer = call.operation
    query, value = call.inputs[0], call.inputs[1]
    named = {weight.path.split(f"{layer.name}/", 1)[1]: np.asarray(weight) for weight in layer.weights}
    heads = {
        part: _project(graph, call, named, part=part, tensor=query if part == "query" else value)
        for part in ("query", "key", "value")
    }
    turned = graph.add("Transpose", [heads["key"]], f"{call.name}/key_turned", perm=[0, 1, 3, 2])
    products = graph.add("MatMul", [heads["query"], turned], f"{call.name}/products")
    scale = graph.number(f"{layer.name}/scale", 1 / math.sqrt(layer.key_dim))
    scaled = graph.add("Mul", [products, scale], f"{call.name}/scaled")
    shares = graph.add("Softmax", [scaled], f"{call.name}/shares", axis=-1)
    mixed = graph.add("MatMul", [shares, heads["value"]], f"{call.name}/mixed")
    return _join(graph, call, named, mixed)


def _project(graph: Graph, call: Call, named: dict[str, Any], *, part: str, tensor: str) -> str:
    """Return tokens (N, tokens, channels) as (N, heads, tokens, channels of a head)."""
    kernel = named[f"{part}/kernel"]
    channels, heads, size = kernel.shape
    name = f"{call.operation.name}/{part}"
    flat = graph.kernel(f"{name}/kernel", kernel.reshape(channels, heads * size))
    product = graph.add("MatMul", [tensor, flat], f"{call.name}/{part}/product")
    bias = graph.weight(f"{name}/bias", named[f"{part}/bias"].reshape(heads * size))
    biased = graph.add("Add", [product, bias], f"{call.name}/{part}/biased")
    shape = graph.integers(f"{name}/shape", [0, 0, heads, size])
    split = graph.add("Reshape", [biased, shape], f"{call.name}/{part}/split")
    return graph.add("Transpose", [split], f"{call.name}/{part}/heads", perm=[0, 2, 1, 3])


def _join(graph: Graph, call: Call, named: dict[str, Any], mixed: str) -> str:
    """Return (N, heads, tokens, channels of a head) as tokens (N, tokens, channels)."""
    kernel = named["attention_output/kernel"]
    heads, size, channels = kernel.shape
    name = f"{call.operation.name}/output"
    turned = graph.add("Transpose", [mixed], f"{call.name}/mixed_turned", perm=[0, 2, 1, 3])
    shape = graph.integers(f"{name}/shape", [0, 0, heads * size])
    flat = graph.add("Reshape", [turned, shape], f"{call.name}/mixed_flat")
    weights = graph.kernel(f"{name}/kernel", kernel.reshape(heads * size, channels))
    product = graph.add("MatMul", [flat, weights], f"{call.name}/output/product")
    bias = graph.weight(f"{name}/bias", named["attention_output/bias"])
    return graph.add("Add", [product, bias], call.name)
