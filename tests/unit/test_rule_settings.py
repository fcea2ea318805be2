"""The rules of the configuration: what is accepted, and what is refused with rule and key."""

from pathlib import Path

import pytest

from dicom_node.errors import ConfigurationError
from dicom_node.settings import Action, Images, Operator, load_settings

CONFIG = Path(__file__).resolve().parents[2] / "config" / "node.toml"


def load(tmp_path, rules, *, config=None):
    path = tmp_path / "node.toml"
    path.write_text((config or CONFIG.read_text()) + "\n" + rules)
    return load_settings(path)


def test_the_rules_shown_in_the_shipped_configuration_load(tmp_path):
    text = CONFIG.read_text()
    begin, end = text.index("#[[rules]]"), text.index("# Keywords are those")
    shown = text[:begin] + text[begin:end].replace("\n#", "\n").removeprefix("#") + text[end:]
    first, second = load(tmp_path, "", config=shown).rules
    assert (first.images, first.priority, first.destinations) == (Images.ANY, 1, ("archive",))
    assert (second.action, second.say, second.when[0].values) == (Action.EXCLUDE, False, ("2",))


def test_what_the_shipped_configuration_calls_a_default_is_one(tmp_path):
    (rule,) = load(tmp_path, '[[rules]]\nname = "all"\n').rules
    assert (rule.images, rule.priority, rule.action, rule.say, rule.destinations) == ("every", 5, "include", False, ())


@pytest.mark.parametrize(
    ("keyword", "written", "read"),
    [
        ("SeriesNumber", "1000001", "1000001"),
        ("AccessionNumber", "202611290007", "202611290007"),
        ("StudyDate", "20260102", "20260102"),
        ("PatientSize", "1.25", "1.25"),
        ("SeriesNumber", "2.0", "2"),
    ],
)
def test_a_number_keeps_all_its_digits(tmp_path, keyword, written, read):
    when = f'[{{ keyword = "{keyword}", operator = "is", values = [{written}] }}]'
    (rule,) = load(tmp_path, f'[[rules]]\nname = "one"\nwhen = {when}\n').rules
    assert rule.when[0].values == (read,)


def test_every_operator_is_named_in_the_shipped_configuration():
    text = " ".join(CONFIG.read_text().replace("# ", "").split())
    named = text[text.index("Operators:") : text.index("What an image does not have")]
    assert [operator for operator in Operator if operator not in named] == []


RULE = '[[rules]]\nname = "first"\n[[rules]]\nname = "odd"\n'


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            'when = [{ keyword = "PatientsAge", operator = "is", values = ["1"] }]',
            "table [[rules]] number 2 ('odd'), key 'when.0.keyword': 'PatientsAge' is no DICOM keyword (PatientAge?)",
        ),
        (
            'when = [{ keyword = "PixelData", operator = "present" }]',
            "key 'when.0.keyword': 'PixelData' has no text, number or date",
        ),
        (
            'when = [{ keyword = "AnatomicRegionSequence", operator = "present" }]',
            "name an attribute of its items, such as AnatomicRegionSequence.CodeValue",
        ),
        (
            'when = [{ keyword = "Modality.CodeValue", operator = "present" }]',
            "what stands before a dot must be a sequence",
        ),
        ('when = [{ keyword = "Modality", operator = "=" , values = ["CR"] }]', "key 'when.0.operator'"),
        ('when = [{ keyword = "Modality", operator = "is" }]', "key 'when.0': is needs values to compare with"),
        (
            'when = [{ keyword = "Modality", operator = "present", values = ["CR"] }]',
            "key 'when.0': present compares with nothing",
        ),
        (
            'when = [{ keyword = "Modality", operator = "below", values = [1] }]',
            "key 'when.0': Modality is no number, age or date",
        ),
        (
            'when = [{ keyword = "PatientAge", operator = "below", values = ["018Y"] }]',
            "key 'when.0': below needs one number",
        ),
        (
            'when = [{ keyword = "PatientAge", operator = "below", values = ["nan"] }]',
            "key 'when.0': below needs one number",
        ),
        ('when = [{ keyword = "Modality", operator = "is", value = "CR" }]', "key 'when.0.value': is not known here"),
        ('destinations = ["nowhere"]', "('odd'), key 'destinations': no [[destinations]] has the name 'nowhere'"),
        ("priority = 0", "number 2 ('odd'), key 'priority'"),
        ('action = "ignore"', "number 2 ('odd'), key 'action'"),
        ("say = true", "table [[rules]] number 2 ('odd'): key 'say': goes with action"),
        ('name = "x"', "is not TOML"),
        ('[[rules]]\nname = "first"', "table [[rules]] number 3 ('first'), key 'name': another rule has the same name"),
        ("[[rules]]", "table [[rules]] number 3, key 'name': is required and missing"),
    ],
)
def test_a_wrong_rule_is_refused_with_rule_and_key(tmp_path, keys, said):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, f"{RULE}{keys}\n")
    assert said in str(caught.value)
