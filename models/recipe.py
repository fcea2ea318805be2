"""What decides the outcome of a training run, and how its progress is shown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

Progress = Callable[[Sequence[int], str], Iterator[int]]
"""Iterate with a progress bar of this title."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome of a training run."""

    architecture: str
    image_size: int
    frozen_until: str
    """The last layer that keeps its ImageNet weights."""
    epochs: int
    batch_size: int
    learning_rate: float
    variations: int = 6
    """Random variations of each radiograph beside the plain one."""
    localisation: float = 0.0
    """Weight of the loss that pulls the cells towards the outlined fractures."""
    negatives: float | None = None
    """Negatives drawn an epoch for each positive; None takes every sample."""
    seed: int = 2026
