"""Reading header values that may be wrong: an unreadable element counts as absent, and is never an exception."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, default_encoding
from pydicom.config import disable_value_validation
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

_ESCAPE = b"\x1b"
_DELIMITERS = {0x5C}
"""The backslash, which resets code extensions (PS3.5 6.1.2.5.3)."""


@contextmanager
def tolerate() -> Iterator[None]:
    """Let pydicom read and write values that break their value representation, without a word.

    Its warnings quote the values, which are patient data and must not reach a log.
    """
    with disable_value_validation(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"pydicom\b")
        yield


def read(ds: Dataset, keyword: str) -> Any:
    """Return the value of `keyword` as pydicom converts it; None when absent, empty or unreadable."""
    try:
        return ds.get(keyword)
    except Exception:  # noqa: BLE001 - a wrong VR, length or nested item fails in many ways, which all mean "unreadable"
        return None


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; empty when absent, unreadable or no sequence."""
    value = read(ds, keyword)
    return list(value) if isinstance(value, Sequence) else []


def texts(ds: Dataset, keyword: str) -> list[str]:
    """Return the values of `keyword` as text, as they came; empty when absent, unreadable, bytes or a sequence."""
    value = read(ds, keyword)
    values = list(value) if isinstance(value, (MultiValue, list, tuple)) else [value]
    if any(isinstance(item, (bytes, Sequence)) for item in values):
        return []
    try:
        return [str(item) for item in values if item is not None]
    except Exception:  # noqa: BLE001 - person names and numbers are converted only here; as in `read`
        return []


def numbers(ds: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the values of `keyword` as finite floats; empty when absent, empty, or one of them is not a number."""
    try:
        converted = tuple(float(text) for text in texts(ds, keyword))
    except ValueError:
        return ()
    return converted if all(isfinite(item) for item in converted) else ()


def number(ds: Dataset, keyword: str) -> float | None:
    """Return the first value of `keyword` as a finite float, or None."""
    values = numbers(ds, keyword)
    return values[0] if values else None


def code(ds: Dataset, keyword: str) -> str:
    """Return the first value of a code string, upper case, without padding; empty when absent or unreadable."""
    return next(iter(texts(ds, keyword)), "").strip(" \0").upper()


def identifier(ds: Dataset, keyword: str) -> str | bytes:
    """Return an identifier as text, or its bytes where the declared character set does not decode them; "" if absent.

    For comparing and showing; what is filed by it takes `identifier_bytes`.
    """
    value = identifier_bytes(ds, keyword)
    if value is None:
        return "\\".join(texts(ds, keyword)).rstrip(" \0")
    if value.isascii() and _ESCAPE not in value:
        return value.decode("ascii")
    return _decode(value, encodings(ds)) or value


def identifier_bytes(ds: Dataset, keyword: str) -> bytes | None:
    """Return an identifier without its padding, as it was sent; None when absent or not read from bytes.

    The bytes count, whatever value representation stands beside them. They are not converted in place, for that would
    lose them.
    """
    try:
        value = ds.get_item(keyword).value
    except Exception:  # noqa: BLE001 - absent, or an element without a value: there are no bytes
        return None
    return value.rstrip(b" \0") if isinstance(value, bytes) else None


def encodings(ds: Dataset) -> list[str]:
    """Return Python's names of the character sets that `ds` declares; that of the default where one is unknown."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an unknown term is but a warning
            return list(convert_encodings(texts(ds, "SpecificCharacterSet") or [""]))
    except Exception:  # noqa: BLE001 - an unknown or unreadable declaration declares nothing
        return [default_encoding]


def _decode(value: bytes, declared: list[str]) -> str:
    """Decode strictly; empty where that fails. Without a declaration only ASCII is declared (PS3.3 C.12.1.1.2)."""
    unescaped = value.split(_ESCAPE)[0]
    if declared[0] == default_encoding and not unescaped.isascii():
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = decode_bytes(value, declared, _DELIMITERS)
    except (UnicodeError, LookupError):
        return ""
    # pydicom puts this character for what it could not decode.
    return "" if "\N{REPLACEMENT CHARACTER}" in text else text
