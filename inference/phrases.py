"""Sentences that can be said in other languages: an English text that still knows its template and its values."""

from collections.abc import Mapping
from string import Formatter
from typing import Any, Protocol, Self

_WAYS = frozenset({"", "g", ".2f", ".0%"})
"""How values may be written."""


class Phrase(str):
    """An English text. It is stored, logged and compared like any other; who translates it looks at its parts.

    `Phrase("The header says {part}.", part="CHEST")` reads "The header says CHEST." A value may be a phrase itself.
    """

    __slots__ = ("template", "values")
    template: str
    values: Mapping[str, Any]

    def __new__(cls, template: str, /, **values: Any) -> Self:
        """Fill the template's places, which are named, with values."""
        phrase = super().__new__(cls, template.format(**values) if values else template)
        phrase.template, phrase.values = template, values
        return phrase

    def __reduce__(self) -> tuple[Any, ...]:
        """Be pickled and copied with its parts: phrases come from processes of their own."""
        return build_phrase, (self.template, dict(self.values))


def build_phrase(template: str, values: Mapping[str, Any]) -> Phrase:
    """Build a phrase from its parts, which may come from a process that cannot be trusted.

    Raises
    ------
    ValueError
        A place of the template is more than a name and a plain way to write a number.
    """
    for _, name, spec, _ in Formatter().parse(template) if values else ():
        if name is not None and not (name.isidentifier() and spec in _WAYS):
            raise ValueError("a place that is no plain one")
    return Phrase(template, **values)


def take_apart(text: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return template and values: a phrase brings its own, where none are given."""
    if isinstance(text, Phrase) and not values:
        return text.template, dict(text.values)
    return text, values


def format_label(label: str) -> str:
    """Write a model's label of a region or type for a reader: `ANKLE_FOOT` becomes `Ankle foot`."""
    return label.replace("_", " ").strip().capitalize()


class Voice(Protocol):
    """Says texts and numbers in a language."""

    def say(self, text: str, /, **values: Any) -> str:
        """Say a template with its values, or a `Phrase`."""

    def number(self, written: str) -> str:
        """Write a number as the language does, from how English does."""


class PlainEnglish:
    """The voice of the source."""

    def say(self, text: str, /, **values: Any) -> str:
        """Fill the places of a template."""
        return text.format(**values) if values else text

    def number(self, written: str) -> str:
        """Write it as it is."""
        return written
