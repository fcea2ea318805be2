"""Layers with kernels, and batch normalisation, which ONNX Runtime folds into them."""

import keras
import numpy as np

from models.export.arithmetic import activate
from models.export.graph import Call, Graph


def emit_convolution(graph: Graph, call: Call) -> str:
    """Write Conv2D or DepthwiseConv2D with its activation."""
    layer = call.operation
    kernel, *bias = layer.get_weights()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    if depthwise:
        height, width, channels, multiplier = kernel.shape
        kernel = kernel.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    else:
        kernel = kernel.transpose(3, 2, 0, 1)
    weights = [graph.kernel(f"{layer.name}/kernel", kernel)]
    weights += [graph.weight(f"{layer.name}/bias", item) for item in bias]
    result = graph.add(
        "Conv",
        [*call.inputs, *weights],
        call.name,
        auto_pad="SAME_UPPER" if layer.padding == "same" else "VALID",
        dilations=list(layer.dilation_rate),
        group=channels if depthwise else layer.groups,
        strides=list(layer.strides),
    )
    return activate(graph, layer.activation, result, call.name)


def emit_dense(graph: Graph, call: Call) -> str:
    """Write Dense over the last axis of vectors or tokens, with its activation."""
    layer = call.operation
    if len(call.shapes[0]) == 4:
        raise ValueError(f"{layer.name}: a dense layer on a map; a 1 x 1 convolution is the same")
    kernel, *bias = layer.get_weights()
    result = graph.add("MatMul", [*call.inputs, graph.kernel(f"{layer.name}/kernel", kernel)], call.name)
    if bias:
        result = graph.add("Add", [result, graph.weight(f"{layer.name}/bias", bias[0])], f"{call.name}/biased")
    return activate(graph, layer.activation, result, call.name)


def emit_batch_norm(graph: Graph, call: Call) -> str:
    """Write BatchNormalization with the statistics it has gathered."""
    layer = call.operation
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    gamma = np.asarray(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = np.asarray(layer.beta) if layer.center else np.zeros_like(mean)
    named = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
    weights = [graph.weight(f"{layer.name}/{name}", array) for name, array in named.items()]
    return graph.add("BatchNormalization", [*call.inputs, *weights], call.name, epsilon=layer.epsilon)
