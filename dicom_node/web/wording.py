"""What pages say, in the language that the browser asks for."""

from typing import Any, cast

from babel import negotiate_locale
from fastapi import Request
from markupsafe import Markup, escape

from dicom_node.languages import LANGUAGES, Language, LanguageCode, load_language
from dicom_node.web.site import get_site
from inference.phrases import Phrase, format_label, take_apart
from inference.probabilities import format_probability


class Wording:
    """Says texts as parts of a page: the text and what is filled in are escaped, but for what is `Markup` already."""

    def __init__(self, language: Language) -> None:
        self.language = language

    def say(self, text: str, /, **values: Any) -> Markup:
        """Say a text with its values, or a `Phrase`, which brings its own."""
        template, values = take_apart(text, values)
        return self._fill(self.language.look_up(template), values)

    def count(self, one: str, several: str, number: int, **values: Any) -> Markup:
        """Say a text of a number of things."""
        return self._fill(self.language.look_up_count(one, several, number), {"number": number, **values})

    def tell(self, text: str) -> Markup:
        """Say a text that was stored or comes from another process, and so is plain English."""
        return self.say(text if isinstance(text, Phrase) else self.language.recall(text))

    def label(self, label: str) -> Markup:
        """Say what a model calls something: a region, a type."""
        return self.say(format_label(label))

    def share(self, probability: float) -> str:
        """Write a probability as results do, never as a certainty."""
        return self.number(format_probability(probability))

    def number(self, written: str) -> str:
        """Write a number as the language does."""
        return self.language.number(written)

    def _fill(self, template: str, values: dict[str, Any]) -> Markup:
        escaped = {name: self._escape(value) for name, value in values.items()}
        return Markup(self.language.fill(str(escape(template)), escaped))  # noqa: S704  # all of it is escaped

    def _escape(self, value: Any) -> Any:
        if isinstance(value, Phrase):
            return self.say(value)
        return escape(value) if isinstance(value, str) else value


def find_wording(request: Request) -> Wording:
    """Find the language of a page: as configured, else the first of those that the browser prefers and there are."""
    settings = get_site(request).settings
    preferred = _read_preferences(request.headers.get("accept-language", ""))
    code = settings.web.language or negotiate_locale(preferred, LANGUAGES, sep="-") or settings.results.language
    return Wording(load_language(cast("LanguageCode", code)))


def _read_preferences(header: str) -> list[str]:
    """List the languages of an Accept-Language header, those of the highest quality first (RFC 9110, 12.5.4)."""
    found = []
    for one in header.split(","):
        name, _, quality = one.partition(";")
        try:
            found.append((float(quality.strip().removeprefix("q=") or 1), name.strip()))
        except ValueError:
            continue
    return [name.lower() for quality, name in sorted(found, key=lambda one: -one[0]) if name and quality > 0]
