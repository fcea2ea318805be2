"""What an evaluation counts as one and the same remark."""

from collections import Counter

import numpy as np
import pytest

from inference.bundle import Answer, QualityLimits
from inference.phrases import Phrase
from inference.quality import Quality
from inference.uncertainty import compare_views
from models.report import without_numbers

ANSWER = Answer(output="ANY", regions=("HAND",), slope=1.0, intercept=0.0, sensitive=0.2, specific=0.6)


def test_remarks_that_differ_in_their_probabilities_are_one_row() -> None:
    remarks = [compare_views(np.array([-2.0 - step, 2.0], np.float32), ANSWER) for step in range(3)]
    assert len(set(remarks)) == 3
    assert Counter(map(without_numbers, remarks)) == {
        "The radiograph and its mirror image are answered oppositely: probabilities … and ….": 3
    }


def test_a_number_within_a_remark_within_a_remark_is_left_out_too() -> None:
    said = Quality(flatness=0.1, inside=0.31, agreement=None).objection(QualityLimits())
    remark = Phrase("The heat map is withheld: {objection}.", objection=said)
    assert without_numbers(remark) == "The heat map is withheld: only … of the heat lies on the limb."


@pytest.mark.parametrize(
    ("remark", "row"),
    [
        (Phrase("no validated model for region {region}", region="LEG"), "no validated model for region LEG"),
        (
            Phrase(
                "The region is in doubt: {region} with a confidence of {confidence:.0%}.", region="LEG", confidence=0.7
            ),
            "The region is in doubt.",
        ),
        (
            Phrase(
                "{said} (distance {distance:.2f}, limit {limit:.2f})", said=Phrase("strange"), distance=2.0, limit=1
            ),
            "strange",
        ),
        (Phrase("no place in it stands out"), "no place in it stands out"),
        ("a distance of 0.31, 12 rows", "a distance of …, … rows"),
    ],
)
def test_what_differs_in_words_or_stands_in_brackets(remark: str, row: str) -> None:
    assert without_numbers(remark) == row
