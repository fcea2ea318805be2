"""A Keras model as an ONNX graph with the same outputs.

The graph is written layer by layer from the model's own configuration: tensors are NCHW inside, as ONNX Runtime's
convolutions want them, while input and outputs keep Keras' channels-last order. Kernels are stored in half precision
and widened when the model is loaded; `round_kernels` makes the Keras model hold the very same values.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 9

Array = NDArray[np.float32]


def round_kernels(model: keras.Model) -> None:
    """Round every kernel to the nearest half-precision value, in place; normalisation stays as it is."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D | keras.layers.Dense):
            kernel, *rest = layer.get_weights()
            layer.set_weights([kernel.astype(np.float16).astype(np.float32), *rest])


def export_onnx(model: keras.Model, *, half: bool = True) -> onnx.ModelProto:
    """Write `model` as ONNX; a dictionary of outputs keeps its names, a single output is called `output`.

    Raises
    ------
    KeyError
        The model holds a kind of layer that has no translation here.
    """
    graph = _Graph(half=half)
    tensors: dict[str, str] = {}
    for layer, sources in _walk(model):
        tensors[layer.name] = _EMITTERS[type(layer).__name__](graph, layer, [tensors[name] for name in sources])
    outputs = model.output if isinstance(model.output, Mapping) else {"output": model.output}
    values = [graph.close(tensors[_origin(tensor)], name, tensor) for name, tensor in outputs.items()]
    inputs = [_value(layer.name, layer.output) for layer in model.layers if isinstance(layer, keras.layers.InputLayer)]
    proto = helper.make_graph(graph.nodes, model.name, inputs, values, graph.initializers)
    exported = helper.make_model(proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(exported, full_check=True)
    return exported


class _Graph:
    """Nodes and weights collected so far."""

    def __init__(self, *, half: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._half = half

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        tensor = f"inner/{output}"
        self.nodes.append(helper.make_node(operator, list(inputs), [tensor], name=output, **attributes))
        return tensor

    def weight(self, name: str, array: NDArray[Any]) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def kernel(self, name: str, array: Array) -> str:
        if not self._half:
            return self.weight(name, array)
        stored = self.weight(f"{name}/half", array.astype(np.float16))
        return self.add("Cast", [stored], name, to=TensorProto.FLOAT)

    def close(self, tensor: str, name: str, keras_tensor: Any) -> onnx.ValueInfoProto:
        if len(keras_tensor.shape) == 4:
            self.nodes.append(helper.make_node("Transpose", [tensor], [name], perm=[0, 2, 3, 1]))
        else:
            self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        return _value(name, keras_tensor)


def _value(name: str, tensor: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *tensor.shape[1:]])


def _origin(tensor: Any) -> str:
    return str(tensor._keras_history.operation.name)  # noqa: SLF001 - Keras offers no public way back to the layer


def _walk(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, list[str]]]:
    """Yield every layer in an order that can be computed, with the names of the layers it reads."""
    for entry in model.get_config()["layers"]:
        sources = [name for node in entry["inbound_nodes"][:1] for name in _histories(node["args"])]
        yield model.get_layer(entry["name"]), sources


def _histories(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _histories(item)


def _emit_input(graph: _Graph, layer: Any, _: list[str]) -> str:
    return graph.add("Transpose", [layer.name], f"{layer.name}/nchw", perm=[0, 3, 1, 2])


def _emit_convolution(graph: _Graph, layer: Any, sources: list[str]) -> str:
    kernel, *bias = layer.get_weights()
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    turned = kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(3, 2, 0, 1)
    weights = [graph.kernel(f"{layer.name}/kernel", turned)]
    weights += [graph.weight(f"{layer.name}/bias", item) for item in bias]
    return graph.add(
        "Conv",
        [*sources, *weights],
        layer.name,
        auto_pad="SAME_UPPER" if layer.padding == "same" else "VALID",
        group=kernel.shape[2] if depthwise else 1,
        strides=list(layer.strides),
    )


def _emit_batch_norm(graph: _Graph, layer: Any, sources: list[str]) -> str:
    names = ("gamma", "beta", "mean", "variance")
    weights = [graph.weight(f"{layer.name}/{n}", w) for n, w in zip(names, layer.get_weights(), strict=True)]
    return graph.add("BatchNormalization", [*sources, *weights], layer.name, epsilon=layer.epsilon)


def _emit_relu(graph: _Graph, layer: Any, sources: list[str]) -> str:
    if layer.max_value is None:
        return graph.add("Relu", sources, layer.name)
    low = graph.weight(f"{layer.name}/low", np.array(0.0, np.float32))
    high = graph.weight(f"{layer.name}/high", np.array(layer.max_value, np.float32))
    return graph.add("Clip", [*sources, low, high], layer.name)


def _emit_add(graph: _Graph, layer: Any, sources: list[str]) -> str:
    return graph.add("Add", sources, layer.name)


def _emit_mean(graph: _Graph, layer: Any, sources: list[str]) -> str:
    axes = graph.weight(f"{layer.name}/axes", np.array([2, 3], np.int64))
    return graph.add("ReduceMean", [*sources, axes], layer.name, keepdims=0)


def _emit_rescaling(graph: _Graph, layer: Any, sources: list[str]) -> str:
    scale = graph.weight(f"{layer.name}/scale", np.array(layer.scale, np.float32))
    offset = graph.weight(f"{layer.name}/offset", np.array(layer.offset, np.float32))
    scaled = graph.add("Mul", [*sources, scale], f"{layer.name}/scaled")
    return graph.add("Add", [scaled, offset], layer.name)


def _emit_nothing(_: _Graph, __: Any, sources: list[str]) -> str:
    return sources[0]


_EMITTERS: Mapping[str, Callable[[_Graph, Any, list[str]], str]] = MappingProxyType(
    {
        "InputLayer": _emit_input,
        "Conv2D": _emit_convolution,
        "DepthwiseConv2D": _emit_convolution,
        "BatchNormalization": _emit_batch_norm,
        "ReLU": _emit_relu,
        "Add": _emit_add,
        "GlobalAveragePooling2D": _emit_mean,
        "Rescaling": _emit_rescaling,
        "SpatialDropout2D": _emit_nothing,
    },
)
