"""What decides the outcome of a training run, and how its progress is shown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Progress = Callable[[Sequence[int], str], Iterator[int]]
"""Iterate with a progress bar of this title."""

ARCHITECTURES = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "efficientnet_b1",
    "efficientnet_b3_attention",
    "resnet101_cbam",
    "resnet50",
    "densenet121",
    "vgg16",
    "custom_cnn",
)
"""The names of `models.architectures`, which takes seconds to import."""
LOCALISATION = 5.0
"""Weight of the loss on the cells where there are outlines to teach them."""
RANDOM = "random"
"""Weights drawn at random: nothing is learned yet, batch normalisation included."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome of a training run."""

    architecture: str
    image_size: int
    weights: str = "imagenet"
    """What training starts from: `imagenet`, `random`, or the path of a weights file."""
    frozen_until: str = ""
    """The last layer that keeps the weights it starts with; none when empty."""
    epochs: int
    """0 after a stage that came before: nothing more is learned, the model only reads squares of another size."""
    batch_size: int
    learning_rate: float
    localisation: float = 0.0
    """Weight of the loss on the cells, which the outlined fractures teach."""
    negatives: float | None = None
    """Negatives drawn an epoch for each fracture; None takes every sample."""
    region_weight: float = 1.0
    """Weight of the region's loss where one backbone learns both tasks."""
    close_ups: float = 0.35
    """Share of the draws that show part of the plate, as a collimated radiograph does."""
    wide_kernels: bool = field(default=False, repr=False)
    """Whether depthwise kernels of more than three pixels a side are trained too where training starts from weights."""
    second_look: float | None = field(default=None, repr=False)
    """Share of each side that a closer look sees, around the hottest place of a fracture's map; None takes none."""
    seed: int = 2026
    first: "Recipe | None" = None
    """What was trained before, on smaller squares say; every fold goes on from the weights that it had then."""
