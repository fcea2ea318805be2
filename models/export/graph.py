"""The two graphs: Keras' as it is walked, ONNX' as it is written."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[np.float32]
Key = tuple[str, int]
"""Name of an operation in Keras' graph, and which of its calls: a shared layer has several."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of a layer or operation on tensors."""

    key: Key
    operation: Any
    """The Keras layer, or operation of `keras.ops`."""
    name: str
    """Its name in the ONNX graph, of this call alone."""
    sources: tuple[Key, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    """Keras' shape of each source, batch first, channels last."""
    inputs: tuple[str, ...] = ()
    """ONNX tensors of the sources; maps are NCHW."""

    def reading(self, inputs: Sequence[str]) -> "Call":
        """Return this call with the ONNX tensors it reads."""
        return dataclasses.replace(self, inputs=tuple(inputs))

    def axis(self, axis: int) -> int:
        """Return the place in ONNX' order of an axis in Keras' order."""
        rank = len(self.shapes[0])
        axis %= rank
        return (0, 2, 3, 1)[axis] if rank == 4 else axis


class Graph:
    """Nodes and weights written so far."""

    def __init__(self, *, half: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._kernels: dict[str, str] = {}
        self._half = half

    @property
    def initializers(self) -> list[onnx.TensorProto]:
        """Weights in the order in which they were written."""
        return list(self._weights.values())

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Add a node; return its one tensor."""
        tensor = f"inner/{output}"
        self.nodes.append(helper.make_node(operator, list(inputs), [tensor], name=output, **attributes))
        return tensor

    def weight(self, name: str, array: Any) -> str:
        """Store an array as it is; a name that is there already, of a shared layer, stays."""
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def number(self, name: str, value: Any) -> str:
        """Store float32 numbers."""
        return self.weight(name, np.array(value, np.float32))

    def integers(self, name: str, values: Any) -> str:
        """Store int64 numbers: axes, shapes, paddings."""
        return self.weight(name, np.array(values, np.int64))

    def kernel(self, name: str, array: Array) -> str:
        """Store a kernel in half precision; return the tensor of its float32 values."""
        if not self._half:
            return self.weight(name, array)
        if name not in self._kernels:
            stored = self.weight(f"{name}/half", array.astype(np.float16))
            self._kernels[name] = self.add("Cast", [stored], name, to=TensorProto.FLOAT)
        return self._kernels[name]

    def close(self, tensor: str, name: str, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
        """Make `tensor` the output `name`, channels last."""
        if len(shape) == 4:
            self.nodes.append(helper.make_node("Transpose", [tensor], [name], perm=[0, 2, 3, 1]))
        else:
            self.nodes.append(helper.make_node("Identity", [tensor], [name]))
        return declare(name, shape)


def declare(name: str, shape: Sequence[int | None]) -> onnx.ValueInfoProto:
    """Describe an input or output of float32 with any batch size."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape[1:]])


def walk(model: keras.Model) -> Iterator[Call]:
    """Yield every call of the model in an order that can be computed."""
    operations = {operation.name: operation for operation in model.operations}
    counted: Counter[str] = Counter()
    waiting = []
    for entry in model.get_config()["layers"]:
        name = _name(operations[entry["name"]], counted)
        for index, node in enumerate(entry["inbound_nodes"] or [None]):
            read = list(_read(node))
            call = Call(
                key=(entry["name"], index),
                operation=operations[entry["name"]],
                name=f"{name}/{index}" if index else name,
                sources=tuple(key for key, _ in read),
                shapes=tuple(shape for _, shape in read),
            )
            waiting.append(call)
    written: set[Key] = set()
    while waiting:
        later = []
        for call in waiting:
            if written.issuperset(call.sources):
                written.add(call.key)
                yield call
            else:
                later.append(call)
        waiting = later


def find_outputs(model: keras.Model) -> dict[str, Key]:
    """Return which call answers each output of a dictionary, or the one `output`."""
    places = model.get_config()["output_layers"]
    named = places if isinstance(places, Mapping) else {"output": places[0] if isinstance(places[0], list) else places}
    return {name: (place[0], place[1]) for name, place in named.items()}


def _name(operation: Any, counted: Counter[str]) -> str:
    """Return a layer's name; operations of `keras.ops` are counted here, as Keras counts through the whole process."""
    if isinstance(operation, keras.layers.Layer):
        return str(operation.name)
    kind = type(operation).__name__.lower()
    counted[kind] += 1
    return f"{kind}_{counted[kind]}"


def _read(value: Any) -> Iterator[tuple[Key, tuple[int | None, ...]]]:
    """Yield the call and the shape of every tensor in the arguments of a node."""
    if isinstance(value, Mapping) and value.get("class_name") == "__keras_tensor__":
        name, index, which = value["config"]["keras_history"]
        if which:
            raise ValueError(f"{name} answers more than one tensor")
        yield (name, index), tuple(value["config"]["shape"])
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _read(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _read(item)
