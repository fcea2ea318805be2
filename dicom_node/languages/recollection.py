"""Which phrase a stored English text was: rows and logs keep the text alone."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from string import Formatter

from inference.phrases import Phrase, build_phrase

_LEAST_LETTERS = 8
"""By which a text must be known; what is only joined by `{first}; {second}` is known by its parts."""
_READERS: Mapping[str, Callable[[str], object]] = {
    "": str,
    "g": float,
    ".2f": float,
    ".0%": lambda text: float(text.rstrip("%")) / 100,
}
"""How a value is read back, by how it was written."""


@dataclass(frozen=True, kw_only=True)
class _Template:
    text: str
    pattern: re.Pattern[str]
    readers: Mapping[str, Callable[[str], object]]


class Recollection:
    """The templates that there are."""

    def __init__(self, texts: Iterable[str]) -> None:
        texts = list(texts)
        self._plain = frozenset(text for text in texts if "{" not in text)
        self._templates = [_compile(text) for text in texts if "{" in text]
        self.recall = lru_cache(maxsize=4096)(self._recall)

    def _recall(self, text: str) -> str:
        """Return the phrase that reads like this text, its values recalled as well; the text itself where none does.

        Of several it is the one that leaves least of the text to values that are no phrases, first of its letters, then
        of all it consists of; of those, the one that is put together from fewest.
        """
        if text in self._plain:
            return Phrase(text)
        found = [phrase for template in self._templates if (phrase := self._match(template, text)) == text]
        best = max(found, key=_rank, default=None)
        return text if best is None or _count_letters(_list_known(best)) < _LEAST_LETTERS else best

    def _match(self, template: _Template, text: str) -> Phrase | None:
        match = template.pattern.fullmatch(text)
        if match is None or text in match.groups():
            return None
        values = {}
        for name, read in template.readers.items():
            try:
                value = read(match[name])
            except ValueError:
                return None
            values[name] = self.recall(value) if isinstance(value, str) else value
        return build_phrase(template.text, values)


def _rank(phrase: Phrase) -> tuple[int, int, int]:
    known = _list_known(phrase)
    return _count_letters(known), sum(map(len, known)), -len(known)


def _list_known(phrase: Phrase) -> list[str]:
    """List what of a text stands in templates, for each of them."""
    if not phrase.values:
        return [phrase.template]
    own = "".join(literal for literal, *_ in Formatter().parse(phrase.template))
    inner = (value for value in phrase.values.values() if isinstance(value, Phrase))
    return [own, *(known for value in inner for known in _list_known(value))]


def _count_letters(texts: Iterable[str]) -> int:
    return sum(character.isalpha() for text in texts for character in text)


def _compile(text: str) -> _Template:
    pattern = ""
    readers: dict[str, Callable[[str], object]] = {}
    for literal, name, spec, _ in Formatter().parse(text):
        pattern += re.escape(literal)
        if name is None:
            continue
        pattern += f"(?P={name})" if name in readers else f"(?P<{name}>.+?)"
        readers[name] = _READERS[spec or ""]
    return _Template(text=text, pattern=re.compile(pattern, re.DOTALL), readers=readers)
