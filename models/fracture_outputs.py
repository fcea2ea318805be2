"""The outputs of a fracture model, and which regions one output answers."""

from collections.abc import Iterable, Mapping

from models.datasets import REGIONS

ANY = "ANY"
"""The fracture output trained on every region."""
OWN_FROM = 60
"""Fractures in the pool from which on a region gets an output of its own."""


def list_outputs(regions_of_fractures: Iterable[str]) -> tuple[str, ...]:
    """Return one output for every region together, and one for each region with enough fractures."""
    listed = list(regions_of_fractures)
    return (ANY, *(region for region in REGIONS if listed.count(region) >= OWN_FROM))


def list_groups(choice: Mapping[str, str]) -> list[list[str]]:
    """Return the regions that the same output answers, by what answers each region; empty where nothing does."""
    outputs = sorted({output for output in choice.values() if output})
    return [[region for region, chosen in choice.items() if chosen == output] for output in outputs]
