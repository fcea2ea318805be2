"""Say a text in a language."""

from collections.abc import Mapping, Sequence
from functools import cache
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path
from string import Formatter
from typing import Any, Literal, get_args

from dicom_node.languages.recollection import Recollection
from inference.phrases import Phrase, take_apart

LanguageCode = Literal["en", "de", "fr", "es", "uk", "ja"]
"""ISO 639-1."""
LANGUAGES: tuple[LanguageCode, ...] = get_args(LanguageCode)
_CATALOGUES = Path(__file__).parent


class Language(Formatter):
    """One language. Its texts are templates with named places, English in the source and the key of the catalogue."""

    def __init__(
        self, code: LanguageCode, catalogue: NullTranslations, *, decimal_symbol: str, texts: Sequence[str] = ()
    ) -> None:
        self.code = code
        self._catalogue = catalogue
        self._decimal_symbol = decimal_symbol
        self._recollection = Recollection(texts)

    def say(self, text: str, /, **values: Any) -> str:
        """Say a text with its values; what the catalogue lacks is said in English.

        A `Phrase` brings its own template and values; a text that is none, such as one of a model's manifest, is looked
        up as it is.
        """
        template, values = take_apart(text, values)
        return self.fill(self.look_up(template), values)

    def count(self, one: str, several: str, number: int, **values: Any) -> str:
        """Say a text of a number of things, `{number}` in it, in the plural form that goes with it."""
        return self.fill(self.look_up_count(one, several, number), {"number": number, **values})

    def recall(self, text: str) -> str:
        """Return an English text that was stored as the phrase that it was, for `say`; else as it is."""
        return self._recollection.recall(text)

    def look_up(self, text: str) -> str:
        """Return the template that a text has in the language."""
        return self._catalogue.gettext(text) if text else ""

    def look_up_count(self, one: str, several: str, number: int) -> str:
        """Return the template in the plural form that goes with a number."""
        return self._catalogue.ngettext(one, several, number)

    def fill(self, template: str, values: Mapping[str, Any]) -> str:
        """Fill the places of a template, where it has values."""
        return self.vformat(template, (), values) if values else template

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

    catalogue, texts = _read(_CATALOGUES / f"{code}.po")
    return Language(code, catalogue, decimal_symbol=get_decimal_symbol(code), texts=texts)


def _read(file: Path) -> tuple[GNUTranslations, list[str]]:
    """Read a catalogue from its text, and which texts it has: there is no second file that could be older."""
    from babel.messages.mofile import write_mo  # noqa: PLC0415  # as above
    from babel.messages.pofile import read_po  # noqa: PLC0415

    with file.open("rb") as text, BytesIO() as compiled:
        entries = read_po(text, abort_invalid=True)
        write_mo(compiled, entries)
        compiled.seek(0)
        return GNUTranslations(compiled), [entry.id for entry in entries if isinstance(entry.id, str) and entry.id]


ENGLISH = load_language("en")
