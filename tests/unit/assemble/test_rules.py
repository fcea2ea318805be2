import pickle
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import build_dx, build_pdf, phantom
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.assemble.rules import Outcome, choose_rule, judge_rules
from dicom_node.languages import load_language
from dicom_node.settings import Condition, Operator, Rule
from dicom_node.values import Instance, Study


def rule(name, *conditions, **others):
    when = tuple(Condition(keyword=one[0], operator=one[1], values=one[2:]) for one in conditions)
    return Rule(name=name, when=when, **others)


def image(**attributes):
    return build_dx(phantom(48, 36), **attributes)


def study(*headers):
    return Study(
        study_instance_uid="1.2",
        revision="r",
        version=1,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        instances=tuple(Instance(path=Path(), header=header) for header in headers),
    )


def coded(value):
    item = Dataset()
    item.CodeValue = value
    return image(AnatomicRegionSequence=[item])


def broken(keyword, value):
    ds = image()
    ds[Tag(keyword)] = RawDataElement(Tag(keyword), "AS", len(value), value, 0, False, True)
    return ds


@pytest.mark.parametrize(
    ("condition", "header", "met"),
    [
        (("StationName", "is", "ER1", "ER2"), image(StationName="er2"), True),
        (("StationName", "is", "ER1"), image(StationName="ER12"), False),
        (("StationName", "is", "ER1"), image(StationName=None), False),
        (("StationName", "is not", "ER1"), image(StationName="OR1"), True),
        (("StationName", "is not", "ER1"), image(StationName="ER1"), False),
        (("StationName", "is not", "ER1"), image(StationName=None), True),
        (("StudyDescription", "contains", "hand"), image(StudyDescription="LEFT HAND"), True),
        (("StudyDescription", "contains", "hand"), image(StudyDescription="FOOT"), False),
        (("StudyDescription", "starts with", "ER "), image(StudyDescription="er hand"), True),
        (("StudyDescription", "starts with", "ER "), image(StudyDescription="hand er "), False),
        (("PatientAge", "below", "2"), image(PatientAge="018M"), True),
        (("PatientAge", "below", "2"), image(PatientAge="002Y"), False),
        (("PatientAge", "above", "17"), image(PatientAge="034Y"), True),
        (("PatientAge", "below", "2"), image(PatientAge=None), False),
        (("PatientBirthDate", "above", "20200101"), image(PatientBirthDate="20240229"), True),
        (("KVP", "is", "60"), image(KVP="60.0"), True),
        (("KVP", "above", "60"), image(KVP="60.0"), False),
        (("Rows", "is", "48"), image(), True),
        (("ImageType", "is", "PRIMARY"), image(), True),
        (("ImageType", "is not", "PRIMARY"), image(), False),
        (("StationName", "present"), image(StationName="X"), True),
        (("StationName", "present"), image(StationName=""), False),
        (("StationName", "absent"), image(StationName=""), True),
        (("AnatomicRegionSequence.CodeValue", "is", "T-D8700"), coded("T-D8700"), True),
        (("AnatomicRegionSequence.CodeValue", "is", "T-D8700"), coded("T-D9200"), False),
        (("PatientAge", "below", "2"), broken("PatientAge", b"\xff\xfe\\x"), False),
        (("PatientAge", "is not", "034Y"), broken("PatientAge", b"\xff\xfe\\x"), True),
    ],
)
def test_a_condition_is_met_or_not(condition, header, met):
    one = rule("one", condition)
    assert (choose_rule([one], study(header)) is one) is met


def test_the_first_rule_that_holds_counts():
    rules = [rule("er", ("StationName", "is", "ER1")), rule("a"), rule("b")]
    assert choose_rule(rules, study(image(StationName="X"))).name == "a"
    assert choose_rule(rules, study(image(StationName="ER1"))).name == "er"
    assert choose_rule([], study(image())) is None


def test_all_conditions_must_be_met_on_one_image():
    both = [("StationName", "is", "ER1"), ("PatientAge", "below", "18")]
    apart = study(image(StationName="ER1", PatientAge="034Y"), image(StationName="X", PatientAge="010Y"))
    assert choose_rule([rule("any", *both, images="any")], apart) is None
    together = study(image(StationName="ER1", PatientAge="010Y"), image(StationName="X", PatientAge="034Y"))
    assert choose_rule([rule("any", *both, images="any")], together).name == "any"


def test_a_rule_needs_every_image_unless_it_says_any():
    """An exclusion that one image meets must not silence the others."""
    mixed = study(image(StationName="ER1"), image(StationName="X"))
    assert choose_rule([rule("out", ("StationName", "is", "ER1"), action="exclude")], mixed) is None
    assert choose_rule([rule("out", ("StationName", "is", "ER1"), action="exclude", images="any")], mixed).name == "out"


def test_only_what_would_be_analysed_is_looked_at_unless_nothing_would():
    """A presentation state or a chest in the study has other attributes, and says nothing about its radiographs."""
    of_er = rule("er", ("StationName", "is", "ER1"))
    chest = image(BodyPartExamined="CHEST", StationName="X")
    assert choose_rule([of_er], study(image(StationName="ER1"), chest, build_pdf(StationName="X"))) is of_er
    assert choose_rule([of_er], study(chest)) is None
    chests = rule("chests", ("BodyPartExamined", "is", "CHEST"))
    assert choose_rule([chests], study(chest)) is chests


def test_every_rule_is_judged_with_its_reason():
    rules = [
        rule("vets", ("InstitutionName", "contains", "vet")),
        rule("er", ("StationName", "is", "ER1", "ER2"), ("PatientAge", "above", "17")),
        rule("rest"),
        rule("any", ("StationName", "is", "ER1"), images="any"),
    ]
    er, other = image(StationName="ER1", PatientAge="034Y"), image(StationName="OR", InstitutionName="Vet clinic")
    vets, first, rest, last = judge_rules(rules, study(er, other))
    assert [one.outcome for one in (vets, first, rest, last)] == [
        Outcome.DOES_NOT_HOLD,
        Outcome.DOES_NOT_HOLD,
        Outcome.DECIDES,
        Outcome.TOO_LATE,
    ]
    assert vets.because == "image 1 of 2: InstitutionName contains vet (it has no value)"
    assert first.because == "image 2 of 2: StationName is ER1 or ER2 (it has 'OR')"
    assert rest.because == "it has no conditions, so it holds for every study"
    assert last.because == "image 1 of 2: StationName is ER1 (it has 'ER1')"


def test_a_reason_is_said_in_the_language_of_a_page_however_long_it_is():
    """A site may list thousands of values, and an archive fill a study with as many images."""
    many = [f"ER{number}" for number in range(3000)]
    held = [rule("er", ("StationName", "is", *many), ("PatientAge", "above", "17"), images="any")]
    headers = [image(StationName="OR", PatientAge="034Y")] + [image(StationName="OR")] * 3
    (judged,) = judge_rules(held, study(*headers))
    assert judged.because.startswith("image 1 of 4: StationName is ER0 or ER1 or ")
    assert judged.because.endswith("image 4 of 4: StationName is {} (it has 'OR')".format(" or ".join(many)))
    said = load_language("de").say(judged.because)
    assert said.startswith("Bild 1 von 4: StationName ist ER0 oder ER1 oder ")
    assert said.endswith("oder ER2999 (vorhanden: 'OR')")
    assert pickle.loads(pickle.dumps(judged.because)).template == judged.because.template  # noqa: S301  # our own


def test_the_reasons_quote_no_value_unless_they_may():
    held = [rule("names", ("PatientName", "contains", "wren")), rule("not", ("PatientID", "is", "1"))]
    shown = judge_rules(held, study(image(PatientName="Wren^Jenny", PatientID="JW-7")))
    hidden = judge_rules(held, study(image(PatientName="Wren^Jenny", PatientID="JW-7")), show_values=False)
    assert "Wren^Jenny" in shown[0].because
    assert "JW-7" in shown[1].because
    assert not any("Wren" in one.because or "JW-7" in one.because for one in hidden)
    assert "another value" in hidden[1].because


def test_every_operator_is_tried_above():
    (mark,) = [mark for mark in test_a_condition_is_met_or_not.pytestmark if mark.name == "parametrize"]
    assert {case[0][1] for case in mark.args[1]} == set(Operator)
