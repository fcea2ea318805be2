"""Say a text in a language."""

from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from string import Formatter
from typing import Any, Literal, get_args

from inference.phrases import Phrase

LanguageCode = Literal["en", "de", "fr", "es", "uk", "ja"]
"""ISO 639-1."""
LANGUAGES: tuple[LanguageCode, ...] = get_args(LanguageCode)
_CATALOGUES = Path(__file__).parent


class Language(Formatter):
    """One language. Its texts are templates with named places, English in the source and the key of the catalogue."""

    def __init__(self, code: LanguageCode, catalogue: NullTranslations, *, decimal_symbol: str) -> None:
        self.code = code
        self._catalogue = catalogue
        self._decimal_symbol = decimal_symbol

    def say(self, text: str, /, **values: Any) -> str:
        """Say a text with its values; what the catalogue lacks is said in English.

        A `Phrase` brings its own template and values; a text that is none, such as one of a model's manifest, is looked
        up as it is.
        """
        if isinstance(text, Phrase) and not values:
            phrase = text
            text, values = phrase.template, dict(phrase.values)
        said = self._catalogue.gettext(text) if text else ""
        return self.vformat(said, (), values) if values else said

    def count(self, one: str, several: str, number: int, **values: Any) -> str:
        """Say a text of a number of things, `{number}` in it, in the plural form that goes with it."""
        return self.vformat(self._catalogue.ngettext(one, several, number), (), {"number": number, **values})

    def number(self, written: str) -> str:
        """Write a number as the language does, from how English does."""
        return written.replace(".", self._decimal_symbol)

    def format_field(self, value: Any, format_spec: str) -> Any:
        """Say values in the language too."""
        if isinstance(value, Phrase):
            value = self.say(value)
        written = super().format_field(value, format_spec)
        return self.number(written) if isinstance(value, float) else written


@cache
def load_language(code: LanguageCode) -> Language:
    """Load a language; its catalogue is read once."""
    if code == "en":
        return Language(code, NullTranslations(), decimal_symbol=".")
    from babel.numbers import get_decimal_symbol  # noqa: PLC0415  # not before it is needed: it loads a lot

    return Language(code, _read(_CATALOGUES / f"{code}.po"), decimal_symbol=get_decimal_symbol(code))


def _read(file: Path) -> GNUTranslations:
    """Read a catalogue from its text: there is no second file that could be older."""
    from babel.messages.mofile import write_mo  # noqa: PLC0415  # as above
    from babel.messages.pofile import read_po  # noqa: PLC0415

    with file.open("rb") as text, BytesIO() as compiled:
        write_mo(compiled, read_po(text, abort_invalid=True))
        compiled.seek(0)
        return GNUTranslations(compiled)


ENGLISH = load_language("en")
