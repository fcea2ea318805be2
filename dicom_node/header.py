"""Reading optional header values that may be wrong: a bad value counts as absent, and is never an exception."""

from collections.abc import Sequence
from math import isfinite

from pydicom import Dataset
from pydicom.multival import MultiValue


def numbers(ds: Dataset, keyword: str) -> tuple[float, ...]:
    """Return the values of `keyword` as finite floats; empty when absent, empty, or one of them is not a number."""
    try:
        value = ds.get(keyword)
        values = value if isinstance(value, (MultiValue, Sequence)) and not isinstance(value, str) else (value,)
        converted = tuple(float(item) for item in values)
    except (TypeError, ValueError, OverflowError):
        return ()
    return converted if all(isfinite(item) for item in converted) else ()


def number(ds: Dataset, keyword: str) -> float | None:
    """Return the first value of `keyword` as a finite float, or None."""
    values = numbers(ds, keyword)
    return values[0] if values else None


def code(ds: Dataset, keyword: str) -> str:
    """Return the first value of a code string, upper case, without padding; empty when absent or unreadable."""
    try:
        value = ds.get(keyword)
    except (TypeError, ValueError, LookupError):
        return ""
    first = value[0] if isinstance(value, MultiValue) and value else value
    return str(first or "").strip(" \0").upper()
