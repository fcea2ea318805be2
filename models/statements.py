"""Compare what a bundle's manifest and card state with what follows from its table and its metrics."""

from collections.abc import Iterator
from difflib import SequenceMatcher

import numpy as np

from inference.bundle import Bundle
from models.answer_calibration import calibrate_answers
from models.calibrated_bundle import render_whole_card
from models.datasets import REGIONS
from models.fracture_outputs import ANY
from models.predictions import FracturePredictions, Predictions, RegionPredictions
from models.scope_limits import find_least_confidence
from models.verification import TOLERANCE, Compared, compare_numbers, read_metrics

CARD = "card.md"


def compare_manifest(bundle: Bundle, table: Predictions) -> list[Compared]:
    """Return what the manifest states and the table decides: answers, and from which confidence on a region is named.

    A temperature follows from logits that no table holds.
    """
    if isinstance(table, FracturePredictions):
        return [] if is_calibrated_again(bundle) else list(_compare_answers(bundle, table))
    if isinstance(table, RegionPredictions) and bundle.manifest.region is not None:
        stated = bundle.manifest.region.least_confidence
        return [compare_numbers("manifest, least_confidence", stated, find_least_confidence(table), TOLERANCE)]
    return []


def is_calibrated_again(bundle: Bundle) -> bool:
    """Tell whether `metrics.json` says that the answers are those of another site, whose radiographs no table holds."""
    return "calibration" in read_metrics(bundle)


def compare_card(bundle: Bundle) -> list[Compared]:
    """Return the lines of the card that are not as manifest and metrics render them.

    Raises
    ------
    KeyError
        `metrics.json` does not say what a card takes.
    OSError
        There is no card, or there are no metrics.
    """
    stated = (bundle.folder / CARD).read_text(encoding="utf-8").splitlines()
    found = render_whole_card(bundle.manifest, read_metrics(bundle)).splitlines()
    return [
        Compared(f"{CARD}, line {start + 1}", "\n".join(stated[start:end]), "\n".join(found[low:high]), agrees=False)
        for kind, start, end, low, high in SequenceMatcher(None, stated, found, autojunk=False).get_opcodes()
        if kind != "equal"
    ]


def _compare_answers(bundle: Bundle, table: FracturePredictions) -> Iterator[Compared]:
    """Calibrate again as training did, by what each fold's model said, and compare every answer."""
    choice = {region: _find_output(table, region) for region in REGIONS}
    rows = table.select(table.usable & (table.output != ""))
    found = calibrate_answers(rows.logit, rows.fractured, rows.region, choice)
    answered = {region: answer for answer in bundle.manifest.answers for region in answer.regions}
    served = [name for name, row in read_metrics(bundle)["figures"]["regions"].items() if row.get("served")]
    yield _compare_words("manifest, regions answered", sorted(answered), sorted(served))
    for region, answer in answered.items():
        name = f"manifest, {region}:"
        yield _compare_words(f"{name} output", [answer.output], [choice.get(region, "")])
        if region not in found:
            continue
        platt, points, limits = found[region]
        # Another processor may end the fit a step earlier or later, which moves it by less than the tolerance.
        for field, value in {**platt._asdict(), **points._asdict(), **limits._asdict()}.items():
            yield compare_numbers(f"{name} {field}", getattr(answer, field), value, TOLERANCE)


def _find_output(table: FracturePredictions, region: str) -> str:
    """Return which output answers a region: for one without radiographs that of all regions, as in training."""
    here = table.output[table.region == region]
    if here.size:
        return str(here[0])
    return ANY if bool(np.isin(ANY, table.output)) else ""


def _compare_words(name: str, stated: list[str], found: list[str]) -> Compared:
    return Compared(name, ", ".join(stated), ", ".join(found), stated == found)
