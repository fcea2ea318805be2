"""A Keras model as an ONNX graph with the same outputs.

The graph is written layer by layer from the model's own configuration, whatever Keras' backend. Maps are NCHW inside,
as ONNX Runtime's convolutions want them, while input and outputs keep Keras' channels-last order. Kernels are stored in
half precision and widened when the model is loaded; `round_kernels` makes the Keras model hold the very same values.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import keras
import numpy as np
import onnx
from onnx import helper

from models.export import arithmetic, attention, convolution, pooling, shaping
from models.export.graph import Call, Graph, declare, find_outputs, walk

OPSET = 18
IR_VERSION = 9

_EMITTERS: Mapping[str, Callable[[Graph, Call], str]] = MappingProxyType(
    {
        "Activation": arithmetic.emit_activation,
        "Add": arithmetic.emit_add,
        "AveragePooling2D": pooling.emit_average_pooling,
        "BatchNormalization": convolution.emit_batch_norm,
        "Concatenate": shaping.emit_concatenate,
        "Conv2D": convolution.emit_convolution,
        "Dense": convolution.emit_dense,
        "DepthwiseConv2D": convolution.emit_convolution,
        "Dropout": shaping.emit_nothing,
        "GlobalAveragePooling2D": pooling.emit_global_mean,
        "GlobalMaxPooling2D": pooling.emit_global_max,
        "InputLayer": shaping.emit_input,
        "LayerNormalization": attention.emit_layer_norm,
        "LogSumExpPooling": pooling.emit_log_sum_exp,
        "Max": pooling.emit_max,
        "MaxPooling2D": pooling.emit_max_pooling,
        "Mean": pooling.emit_mean,
        "MultiHeadAttention": attention.emit_attention,
        "Multiply": arithmetic.emit_multiply,
        "Normalization": arithmetic.emit_normalization,
        "PooledCam": arithmetic.emit_pooled_cam,
        "ReLU": arithmetic.emit_relu,
        "Rescaling": arithmetic.emit_rescaling,
        "Reshape": shaping.emit_reshape,
        "Sign": arithmetic.emit_sign,
        "SpatialDropout2D": shaping.emit_nothing,
        "UpSampling2D": shaping.emit_up_sampling,
        "ZeroPadding2D": shaping.emit_zero_padding,
    },
)
"""By the class of a Keras layer, or of an operation of `keras.ops`."""


def round_kernels(model: keras.Model) -> None:
    """Round every kernel to the nearest half-precision value, in place; normalisation and biases stay as they are."""
    for weight in model.weights:
        if weight.name == "kernel":
            weight.assign(weight.numpy().astype(np.float16).astype(np.float32))


def export_onnx(model: keras.Model, *, half: bool = True) -> onnx.ModelProto:
    """Write `model` as ONNX; a dictionary of outputs keeps its names, a single output is called `output`.

    Raises
    ------
    KeyError
        The model holds a kind of layer that has no translation here.
    """
    graph = Graph(half=half)
    tensors: dict[tuple[str, int], str] = {}
    for call in walk(model):
        ready = call.reading([tensors[source] for source in call.sources])
        tensors[call.key] = _EMITTERS[type(call.operation).__name__](graph, ready)
    outputs = model.output if isinstance(model.output, Mapping) else {"output": model.output}
    origins = find_outputs(model)
    values = [graph.close(tensors[origins[name]], name, tensor.shape) for name, tensor in outputs.items()]
    inputs = [declare(layer.name, layer.output.shape) for layer in model.layers if _is_input(layer)]
    proto = helper.make_graph(graph.nodes, model.name, inputs, values, graph.initializers)
    exported = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(exported, full_check=True)
    return exported


def _is_input(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


__all__ = ["export_onnx", "round_kernels"]
