"""The outputs of a fracture model, and which regions share a calibration: decided by how many fractures there are."""

from collections.abc import Collection, Iterable

from models.datasets import REGIONS

ANY = "ANY"
"""The fracture output trained on every region."""
OWN_FROM = 60
"""Fractures in the pool from which on a region gets an output, a calibration and operating points of its own."""


def list_outputs(regions_of_fractures: Iterable[str]) -> tuple[str, ...]:
    """Return one output for every region together, and one for each region with enough fractures."""
    listed = list(regions_of_fractures)
    return (ANY, *(region for region in REGIONS if listed.count(region) >= OWN_FROM))


def list_groups(outputs: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """Return the regions that share a calibration: each with an output of its own alone, the rest together."""
    alone = tuple((region,) for region in REGIONS if region in outputs)
    rest = tuple(region for region in REGIONS if region not in outputs)
    return (*alone, rest) if rest else alone
