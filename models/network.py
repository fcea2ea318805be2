"""One backbone, a head for each task that it learns."""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import keras

from inference.types import Task
from models.architectures import BACKBONES, HEADS
from models.architectures.head import attach_fine_head, attach_head

FINE: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"), "block5_out")
)
"""Architectures whose fracture head looks at a finer map, and the last layer at that stride."""

CELLS = "fracture_cells"

WIDE = 3
"""Depthwise kernels of more pixels a side keep their pretrained weights."""


class UnknownArchitectureError(Exception):
    """No architecture has this name."""


class UnknownLayerError(Exception):
    """The architecture has no layer of this name, or not everything passes through it; the message says more."""


class UnsuitableSizeError(Exception):
    """The architecture cannot read squares of this side; the message says which it can."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A model for each task, all on the same backbone: image to `logits`, `cam`, `embedding`."""

    models: Mapping[Task, keras.Model]

    def split(
        self, frozen_until: str, *, taught_cells: bool = False, pretrained: bool = True, wide_kernels: bool = False
    ) -> tuple[keras.Model, keras.Model]:
        """Return the part up to a layer (the input alone when empty) and the trainable rest.

        The rest answers a dictionary: for each task its logits, and with `taught_cells` the cells of the fracture head,
        if it has any, under `CELLS`. What a `pretrained` network has learned from a million pictures stays where
        training could hardly better it: batch normalisation (batches are small and much alike), and wide depthwise
        kernels (few weights, whose gradient takes a fifth of the time on processors) unless `wide_kernels` says so.

        Raises
        ------
        UnknownLayerError
            There is no layer `frozen_until`, or what lies above it looks at layers below, too.
        """
        start, cut = self._cut(frozen_until)
        outputs = {}
        for task, model in self.models.items():
            outputs[task.value] = model.output["logits"]
            if taught_cells and task is Task.FRACTURE and (cells := find_cells(model)) is not None:
                outputs[CELLS] = cells
        try:
            top = keras.Model(cut, outputs)
        except ValueError as error:
            raise UnknownLayerError(
                f"what lies above {frozen_until} looks at layers below, too: freeze up to the end of a block further "
                "down, such as block3_out"
            ) from error
        for layer in top.layers:
            layer.trainable = not (pretrained and _stays(layer, wide_kernels=wide_kernels))
        return keras.Model(start, cut), top

    def above(self, frozen_until: str) -> keras.Model:
        """Return every output of every head, as `task_output`, of the part above a layer: what they share once."""
        outputs = {
            f"{task.value}_{name}": tensor
            for task, model in self.models.items()
            for name, tensor in model.output.items()
        }
        return keras.Model(self._cut(frozen_until)[1], outputs)

    def _cut(self, frozen_until: str) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return the input, and what the last frozen layer makes of it."""
        first = next(iter(self.models.values()))
        if not frozen_until:
            return first.input, first.input
        layers = {layer.name: layer for layer in first.layers}
        if frozen_until not in layers:
            raise UnknownLayerError(f"{first.name} has no layer {frozen_until}: {_list_like(frozen_until, layers)}")
        return first.input, layers[frozen_until].output


def _list_like(name: str, names: Collection[str]) -> str:
    """Say which of the names are like this one, or some of them where none is."""
    if near := difflib.get_close_matches(name, names, n=5):
        return f"did you mean {', '.join(near)}?"
    some = list(names)[:: max(1, len(names) // 10)]
    return f"some that it has, from the image on: {', '.join(some)}"


def _stays(layer: keras.layers.Layer, *, wide_kernels: bool) -> bool:
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return not wide_kernels and bool(max(layer.kernel_size) > WIDE)
    return isinstance(layer, keras.layers.BatchNormalization)


def find_cells(model: keras.Model) -> keras.KerasTensor | None:
    """Return the evidence of each cell (N, h, w, outputs), or None where the head has none."""
    for layer in model.layers:
        if layer.name.removeprefix(f"{Task.FRACTURE.value}_") in {"cells", "fine_cells"}:
            return layer.output
    return None


def build_network(architecture: str, *, image_size: int, outputs: Mapping[Task, int]) -> Network:
    """Build a backbone with a head for each task, weights drawn at random.

    Raises
    ------
    UnknownArchitectureError
        No architecture has this name.
    UnsuitableSizeError
        The head of an architecture in `FINE` needs maps of which the finer has twice the cells of the last.
    """
    if architecture not in BACKBONES:
        raise UnknownArchitectureError(f"no architecture {architecture}: one of {', '.join(BACKBONES)}")
    backbone = BACKBONES[architecture](image_size)
    return Network(
        models={task: _attach(backbone, architecture, task, count) for task, count in outputs.items()},
    )


def _attach(backbone: keras.Model, architecture: str, task: Task, outputs: int) -> keras.Model:
    if task is Task.FRACTURE and architecture in FINE:
        side, last = backbone.input.shape[1], backbone.output.shape[1]
        if backbone.get_layer(FINE[architecture]).output.shape[1] != 2 * last:
            raise UnsuitableSizeError(
                f"{architecture} looks for fractures on two maps, which do not fit each other on squares of {side} "
                f"pixels: take a multiple of 32, such as {32 * max(2, round(side / 32))}"
            )
        return attach_fine_head(backbone, fine=FINE[architecture], outputs=outputs, name=architecture)
    attach: Callable[..., keras.Model] = HEADS.get(architecture, attach_head)
    # Several heads of one kind may share the backbone; layers are told apart by their names.
    prefix = "" if task is Task.REGION else f"{task.value}_"
    return attach(backbone, outputs=outputs, name=architecture, prefix=prefix)
