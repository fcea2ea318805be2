"""`[[rules]]` of the configuration file: which studies are analysed, and how, by the headers of their images."""

from difflib import get_close_matches
from enum import StrEnum
from math import isfinite, nan
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictInt, model_validator
from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword

from dicom_node.languages import LanguageCode
from dicom_node.settings.table import Table

ROUTINE = 5
"""The priority of a study of which no rule says another."""
_WITHOUT_TEXT = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
NUMERIC = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
ORDERED = NUMERIC | {"AS", "DA"}
"""Value representations that have a below and an above: numbers, ages, dates."""


class Operator(StrEnum):
    """How a condition compares; texts without regard to case. Of several values of an attribute one is enough."""

    IS = "is"
    """It is one of the values."""
    IS_NOT = "is not"
    """It is none of the values, or absent."""
    CONTAINS = "contains"
    """One of the values is part of it."""
    STARTS_WITH = "starts with"
    """It starts with one of the values."""
    BELOW = "below"
    """It is less than the value: a number, an age in years, a date as YYYYMMDD."""
    ABOVE = "above"
    """It is more than the value."""
    PRESENT = "present"
    """It has a value."""
    ABSENT = "absent"
    """It has no value."""


class Images(StrEnum):
    """How many of a study's images must meet the conditions."""

    EVERY = "every"
    ANY = "any"


class Action(StrEnum):
    """What becomes of a study that a rule holds for."""

    INCLUDE = "include"
    """It is analysed."""
    EXCLUDE = "exclude"
    """It is not analysed; `dicom-node status` shows it so."""


def _validate_keyword(value: str) -> str:
    """Accept the DICOM keyword of an attribute with text, number or date; dots lead into sequences."""
    *sequences, last = value.split(".")
    for keyword in (*sequences, last):
        if tag_for_keyword(keyword) is None:
            near = get_close_matches(keyword, keyword_dict, n=1)
            raise ValueError(f"{keyword!r} is no DICOM keyword" + (f" ({near[0]}?)" if near else ""))
    if any(dictionary_VR(keyword) != "SQ" for keyword in sequences):
        raise ValueError(f"{value!r}: what stands before a dot must be a sequence")
    if dictionary_VR(last) == "SQ":
        raise ValueError(f"{last!r} is a sequence: name an attribute of its items, such as {last}.CodeValue")
    if _WITHOUT_TEXT & set(dictionary_VR(last).split(" or ")):
        raise ValueError(f"{last!r} has no text, number or date to compare")
    return value


def _write_number(value: object) -> object:
    return f"{value:.15g}" if isinstance(value, int | float) and not isinstance(value, bool) else value


class Condition(Table):
    """One of the conditions of a rule."""

    keyword: Annotated[str, AfterValidator(_validate_keyword)]
    """Of an attribute, or a path such as `AnatomicRegionSequence.CodeValue`."""
    operator: Operator
    values: tuple[Annotated[str, BeforeValidator(_write_number), Field(min_length=1)], ...] = ()

    @model_validator(mode="after")
    def _check_values(self) -> "Condition":
        if self.operator in {Operator.PRESENT, Operator.ABSENT}:
            if self.values:
                raise ValueError(f"{self.operator!s} compares with nothing: it takes no values")
        elif not self.values:
            raise ValueError(f"{self.operator!s} needs values to compare with")
        if self.operator in {Operator.BELOW, Operator.ABOVE}:
            self._check_order()
        return self

    def _check_order(self) -> None:
        if self.vr not in ORDERED:
            raise ValueError(f"{self.keyword} is no number, age or date: it has no {self.operator!s}")
        try:
            (value,) = map(float, self.values)
        except ValueError:
            value = nan
        if not isfinite(value):
            raise ValueError(f"{self.operator!s} needs one number")

    @property
    def vr(self) -> str:
        """Value representation of the attribute; the first where the dictionary names several."""
        return dictionary_VR(self.keyword.rpartition(".")[2]).split(" or ")[0]


class Rule(Table):
    """`[[rules]]`: of those that hold for a study, the first one counts; without any, a study is analysed."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]{0,63}$")]
    when: tuple[Condition, ...] = ()
    """All of them must hold, on the same image; none: the rule holds for every study."""
    images: Images = Images.EVERY
    action: Action = Action.INCLUDE
    say: StrictBool = False
    """Whether an excluded study gets a report that says so; else nothing is sent to any archive."""
    priority: Annotated[StrictInt, Field(ge=1, le=9)] = ROUTINE
    """Studies with a lower number are analysed first."""
    destinations: tuple[str, ...] = ()
    """Names of the destinations that get the results; empty: all."""
    language: LanguageCode | Literal[""] = ""
    """Of the results, whatever the destinations' languages are; empty: those."""

    @model_validator(mode="after")
    def _check_say(self) -> "Rule":
        if self.say and self.action is not Action.EXCLUDE:
            raise ValueError("key 'say': goes with action = \"exclude\"; what is analysed is always reported")
        return self
