"""A study in which every element of free text is a word of its own, and the search for such words in bytes.

Each word begins with `STEM`, which no program says by itself; where it is found, the number after it says which element
has got out (`name_of`).
"""

import base64
import re
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.datadict import DicomDictionary
from pydicom.uid import generate_uid

STEM = "Zqxwkjvp"
BIRTH_DATE, BIRTH_TIME, WEIGHT = "18310917", "235947.531246", "61.8340339887"
_TEXT = {"PN", "LO", "SH", "LT", "ST", "UT", "UC"}
_GROUPS = {0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0028, 0x0032, 0x0038, 0x0040, 0x4008, 0x4010}
KEYWORDS = sorted(
    keyword
    for tag, (vr, _, _, _, keyword) in DicomDictionary.items()
    # This one is a text by its representation, but a number to whoever reads it.
    if vr in _TEXT and keyword and tag >> 16 in _GROUPS and keyword != "TimezoneOffsetFromUTC"
)
_SPELLINGS = [STEM.lower().encode(encoding) for encoding in ("ascii", "utf-16-le", "utf-16-be")]
# In base64 a text has three spellings, by where in a group of three bytes it begins.
_BASE64 = [base64.b64encode(b"\0" * before + STEM.encode())[2 * before : -4] for before in range(3)]
_NUMBERS = [number.encode() for number in (BIRTH_DATE, BIRTH_TIME, WEIGHT)]


def word(number: int) -> str:
    """Make a word of 12 characters, which every value representation of text can hold."""
    return f"{STEM}{number:04d}"


def name_of(content: bytes) -> set[str]:
    """Name the elements whose words are in a content: for whoever looks for the leak."""
    numbers = {int(digits) for digits in re.findall(STEM.encode() + rb"(\d{4})", content, re.IGNORECASE)}
    return {KEYWORDS[number] if number < len(KEYWORDS) else f"word {number}" for number in numbers}


def holds_word(content: bytes) -> bool:
    """Tell whether a word of a canary study is in a content, in any spelling."""
    lower = content.lower()
    return (
        any(spelling in lower for spelling in _SPELLINGS)
        or any(spelling in content for spelling in _BASE64)
        or any(number in content and _stands_alone(number, content) for number in _NUMBERS)
    )


def _stands_alone(number: bytes, content: bytes) -> bool:
    """Tell whether a number is there on its own, not among the digits of a UID or of a digest."""
    return bool(re.search(rb"(?<![0-9A-Fa-f.])" + re.escape(number) + rb"(?![0-9A-Fa-f])", content))


def write_rules() -> str:
    """Write `[[rules]]` that name patients: one that no study of this kind meets, and one that they all meet."""
    values = {"PatientID": word(9101), "PatientName": word(KEYWORDS.index("PatientName"))}
    return "\n".join(
        f'[[rules]]\nname = "by {keyword}"\nwhen = [{{ keyword = "{keyword}", operator = "is", values = ["{value}"] }}]'
        for keyword, value in values.items()
    )


def leaks(contents: Iterable[tuple[str, bytes]]) -> dict[str, set[str]]:
    """Return which of the contents hold a word, and of which elements."""
    return {name: name_of(content) or {"spelt otherwise"} for name, content in contents if holds_word(content)}


def files_below(folder: Path, *, without: Iterable[Path] = ()) -> list[tuple[str, bytes]]:
    """Read every file below a folder, except below some others."""
    left_out = tuple(without)
    return [
        (str(path.relative_to(folder)), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(path.is_relative_to(one) for one in left_out)
    ]


def make_canary(image: Dataset, **attributes: object) -> Dataset:
    """Return a copy of an image as a study of its own, with a word in every element of text, nested and private too."""
    ds = deepcopy(image)
    ds.SpecificCharacterSet = "ISO_IR 192"
    _fill(ds)
    ds.PatientBirthDate, ds.PatientBirthTime, ds.PatientWeight = BIRTH_DATE, BIRTH_TIME, WEIGHT
    for keyword in ("OtherPatientIDsSequence", "RequestAttributesSequence", "ReferencedStudySequence"):
        item = Dataset()
        _fill(item)
        setattr(ds, keyword, [item])
    block = ds.private_block(0x0009, word(9001), create=True)
    block.add_new(0x01, "LO", word(9002))
    block.add_new(0x02, "UN", word(9003).encode())
    block.add_new(0x03, "OB", word(9004).encode())
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID = generate_uid(), generate_uid(), generate_uid()
    with disable_value_validation():  # a fault is what some tests are after
        for keyword, value in attributes.items():
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _fill(ds: Dataset) -> None:
    for number, keyword in enumerate(KEYWORDS):
        setattr(ds, keyword, word(number))
