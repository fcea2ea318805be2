"""Which studies are analysed: the rules of the configuration, each with what it finds in the headers of a study.

The first rule that holds counts. It looks at the radiographs that would be analysed; where a study has none, at all of
its instances. An attribute that cannot be read counts as absent. Nothing of a rule is ever evaluated as a program.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset

from dicom_node.assemble.selection import select_radiographs
from dicom_node.header import items, texts
from dicom_node.settings import Condition, Images, Operator, Rule
from dicom_node.settings.rules import NUMERIC
from dicom_node.values import Instance, Study
from inference.phrases import Phrase

_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
_AGE = re.compile(r"(\d{3})([DWMY])")
"""An Age String (PS3.5 6.2)."""


class Outcome(StrEnum):
    """What a rule comes to for one study."""

    DECIDES = "decides"
    TOO_LATE = "too late"
    """It holds too, but an earlier one has decided."""
    DOES_NOT_HOLD = "does not hold"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What one rule comes to for one study, and why."""

    rule: Rule
    outcome: Outcome
    because: str
    """Quotes values of the header, which may be patient data: only for whoever may see the study."""


def choose_rule(rules: Sequence[Rule], study: Study) -> Rule | None:
    """Return the first rule that holds for a study; None where none does."""
    if not rules:
        return None
    images = _looked_at(study)
    return next((rule for rule in rules if _holds(rule, images)), None)


def judge_rules(rules: Sequence[Rule], study: Study, *, show_values: bool = True) -> tuple[Judgement, ...]:
    """Say of every rule, in their order, whether it decides about a study, and why.

    Without `show_values` no value of the header is quoted.
    """
    images = _looked_at(study)
    chosen = choose_rule(rules, study)
    judgements = []
    for rule in rules:
        outcome = Outcome.TOO_LATE if _holds(rule, images) else Outcome.DOES_NOT_HOLD
        if rule is chosen:
            outcome = Outcome.DECIDES
        because = _join(tuple(_explain(rule, images, show_values=show_values)), _and_then)
        judgements.append(Judgement(rule=rule, outcome=outcome, because=because))
    return tuple(judgements)


def describe_condition(condition: Condition) -> str:
    """Write a condition as a sentence would have it."""
    return _SENTENCES[condition.operator](condition.keyword, _join(condition.values, _or))


def _looked_at(study: Study) -> tuple[Instance, ...]:
    return select_radiographs(study).radiographs or study.instances


def _holds(rule: Rule, images: Sequence[Instance]) -> bool:
    if not rule.when:
        return True
    met = [all(meets(image.header, condition) for condition in rule.when) for image in images]
    return any(met) if rule.images is Images.ANY else bool(met) and all(met)


def _explain(rule: Rule, images: Sequence[Instance], *, show_values: bool) -> Iterator[str]:
    """Say what is the case: for each image that counts, the condition that it does not meet, or all that it meets."""
    if not rule.when:
        yield Phrase("it has no conditions, so it holds for every study")
        return
    holds = _holds(rule, images)
    failed = [next((one for one in rule.when if not meets(image.header, one)), None) for image in images]
    telling = [number for number, condition in enumerate(failed) if holds is (condition is None)]
    if holds is (rule.images is Images.ANY):
        telling = telling[:1]  # that image alone settles it
    for number in telling:
        condition = failed[number]
        told = rule.when if condition is None else (condition,)
        said = [_tell(images[number].header, one, met=holds, show_value=show_values) for one in told]
        yield Phrase(
            "image {number} of {images}: {conditions}",
            number=number + 1,
            images=len(images),
            conditions=_join(said, _and_then),
        )


def _tell(header: Dataset, condition: Condition, *, met: bool, show_value: bool) -> str:
    found = read_values(header, condition.keyword)
    said = describe_condition(condition)
    if found and show_value:
        return Phrase("{condition} (it has {values})", condition=said, values=", ".join(map(repr, found)))
    if met:
        return Phrase("{condition} (met)", condition=said)
    if found:
        return Phrase("{condition} (it has another value)", condition=said)
    return Phrase("{condition} (it has no value)", condition=said)


def _join(parts: Sequence[str], join: Callable[[str, str], str]) -> str:
    """Join texts by halves, so that what many of them make is not nested as deep as they are many."""
    if len(parts) < 2:
        return parts[0] if parts else ""
    half = len(parts) // 2
    return join(_join(parts[:half], join), _join(parts[half:], join))


def _and_then(first: str, second: str) -> str:
    return Phrase("{first}; {second}", first=first, second=second)


def _or(first: str, second: str) -> str:
    return Phrase("{first} or {second}", first=first, second=second)


def meets(header: Dataset, condition: Condition) -> bool:
    """Tell whether a header meets a condition."""
    found = read_values(header, condition.keyword)
    return _CHECKS[condition.operator](condition, found)


def read_values(header: Dataset, path: str) -> list[str]:
    """Return the values of an attribute as text, without padding; of every item where the path leads into sequences."""
    keyword, _, rest = path.partition(".")
    if rest:
        return [value for item in items(header, keyword) for value in read_values(item, rest)]
    return [value for text in texts(header, keyword) if (value := text.strip(" \0"))]


def _is(condition: Condition, found: Sequence[str]) -> bool:
    return any(_same(condition.vr, value, wanted) for value in found for wanted in condition.values)


def _same(vr: str, value: str, wanted: str) -> bool:
    if vr in NUMERIC:
        numbers = _number(vr, value), _number(vr, wanted)
        return None not in numbers and numbers[0] == numbers[1]
    return value.casefold() == wanted.casefold()


def _contains(condition: Condition, found: Sequence[str]) -> bool:
    return any(wanted.casefold() in value.casefold() for value in found for wanted in condition.values)


def _starts_with(condition: Condition, found: Sequence[str]) -> bool:
    return any(value.casefold().startswith(wanted.casefold()) for value in found for wanted in condition.values)


def _below(condition: Condition, found: Sequence[str]) -> bool:
    return any(number < float(condition.values[0]) for number in _numbers(condition, found))


def _above(condition: Condition, found: Sequence[str]) -> bool:
    return any(number > float(condition.values[0]) for number in _numbers(condition, found))


def _numbers(condition: Condition, found: Sequence[str]) -> Iterator[float]:
    return (number for value in found if (number := _number(condition.vr, value)) is not None)


def _number(vr: str, value: str) -> float | None:
    """Return a number, an age in years, or a date as YYYYMMDD; None where it is none."""
    if vr == "AS":
        age = _AGE.fullmatch(value)
        return int(age[1]) * _YEARS[age[2]] if age else None
    try:
        return float(value)
    except ValueError:
        return None


_CHECKS: dict[Operator, Callable[[Condition, Sequence[str]], bool]] = {
    Operator.IS: _is,
    Operator.IS_NOT: lambda condition, found: not _is(condition, found),
    Operator.CONTAINS: _contains,
    Operator.STARTS_WITH: _starts_with,
    Operator.BELOW: _below,
    Operator.ABOVE: _above,
    Operator.PRESENT: lambda _, found: bool(found),
    Operator.ABSENT: lambda _, found: not found,
}
_SENTENCES: dict[Operator, Callable[[str, str], str]] = {
    Operator.IS: lambda keyword, values: Phrase("{keyword} is {values}", keyword=keyword, values=values),
    Operator.IS_NOT: lambda keyword, values: Phrase("{keyword} is not {values}", keyword=keyword, values=values),
    Operator.CONTAINS: lambda keyword, values: Phrase("{keyword} contains {values}", keyword=keyword, values=values),
    Operator.STARTS_WITH: lambda keyword, values: Phrase(
        "{keyword} starts with {values}", keyword=keyword, values=values
    ),
    Operator.BELOW: lambda keyword, values: Phrase("{keyword} below {values}", keyword=keyword, values=values),
    Operator.ABOVE: lambda keyword, values: Phrase("{keyword} above {values}", keyword=keyword, values=values),
    Operator.PRESENT: lambda keyword, _: Phrase("{keyword} present", keyword=keyword),
    Operator.ABSENT: lambda keyword, _: Phrase("{keyword} absent", keyword=keyword),
}
