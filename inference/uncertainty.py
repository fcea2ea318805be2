"""From logits to probabilities, and from a probability to an answer, or to none where it would not be sure enough.

Between the two operating points the decision is `uncertain`. Conformal prediction may take back a decision beyond them:
of all answers, those are ruled out that radiographs of that very class give more rarely than the promised coverage
allows (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, label-conditional), and where the
decision is not the only one left it is `uncertain` too.

The two are no independent opinions. In a bundle made by training (`models.region_calibration`) both are fitted to the
same radiographs: where there are fractures enough the sensitive point is the limit on fractures, and the specific point
is that on the others, unless the two cross or are held to what is more likely than not. Where the specific point is
held, conformal prediction rules out "no fracture", the points do not affirm one yet, and the reason given is theirs.
Conformal prediction adds a doubt where fractures were too few to promise anything of them, and where the limits were
chosen apart from the points.
"""

import math
from collections.abc import Sequence

import numpy as np

from inference.bundle import Answer
from inference.phrases import Phrase
from inference.types import Decision, Float32Array


def share_out(logits: Float32Array, labels: Sequence[str], temperature: float) -> dict[str, float]:
    """Return the probability of every label, `softmax(logits / temperature)`, in the order of the labels."""
    scaled = logits.astype(np.float64) / temperature
    shares = np.exp(scaled - scaled.max())
    return {label: float(share) for label, share in zip(labels, shares / shares.sum(), strict=True)}


def calibrate(logit: float, answer: Answer) -> float:
    """Return the calibrated probability of a logit (Platt, Advances in Large Margin Classifiers, 1999)."""
    score = answer.slope * logit + answer.intercept
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


def decide(probability: float, answer: Answer) -> Decision:
    """Return the decision: that of the operating points, unless there is a doubt."""
    return Decision.UNCERTAIN if explain_doubt(probability, answer) else _decide_by_points(probability, answer)


def explain_doubt(probability: float, answer: Answer) -> str:
    """Return why the decision is `uncertain`; empty where it is not."""
    by_points = _decide_by_points(probability, answer)
    if by_points is Decision.UNCERTAIN:
        return Phrase("between the sensitive and the specific operating point")
    left = predict_set(probability, answer)
    if left in {None, frozenset({by_points})}:
        return ""
    said = Phrase("conformal prediction with a coverage of {coverage:.0%}", coverage=answer.coverage)
    if len(left) > 1:
        return Phrase("{method} rules out neither answer", method=said)
    if left:
        return Phrase("{method} leaves only the other answer", method=said)
    return Phrase("{method} rules out both answers", method=said)


def predict_set(probability: float, answer: Answer) -> frozenset[Decision] | None:
    """Return the answers that conformal prediction does not rule out; None where it has not been fitted."""
    if answer.fracture_at_least is None or answer.no_fracture_at_most is None:
        return None
    kept = {
        Decision.FRACTURE: probability >= answer.fracture_at_least,
        Decision.NO_FRACTURE: probability <= answer.no_fracture_at_most,
    }
    return frozenset(decision for decision, stays in kept.items() if stays)


def compare_views(logits: Float32Array, answer: Answer) -> str:
    """Return a remark where mirror images, `logits` of shape (views,), would be decided in opposite ways."""
    probabilities = [calibrate(float(logit), answer) for logit in logits]
    if min(probabilities) >= answer.sensitive or max(probabilities) < answer.specific:
        return ""
    return Phrase(
        "The radiograph and its mirror image are answered oppositely: probabilities {first:.2f} and {last:.2f}.",
        first=probabilities[0],
        last=probabilities[-1],
    )


def _decide_by_points(probability: float, answer: Answer) -> Decision:
    if probability >= answer.specific:
        return Decision.FRACTURE
    return Decision.NO_FRACTURE if probability < answer.sensitive else Decision.UNCERTAIN
