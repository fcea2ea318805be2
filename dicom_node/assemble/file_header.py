"""The header of a stored file, as much of it as parses."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator, read_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from dicom_node.bounded_file import BoundedFile
from dicom_node.durable import data_set_offset
from dicom_node.header import encodings

_CHARACTER_SET = Tag(0x0008, 0x0005)
_PIXELS = 0x7FE00000
_LARGEST_VALUE = 1 << 20
"""Bytes of the longest value that belongs to a header here: nothing of what is asked of one is longer."""
_MEMORY = 1 << 26
"""Bytes that parsing a header may take."""


def read_header(path: Path) -> Dataset:
    """Read a Part 10 file without its pixel data; OSError where there is none to read.

    pydicom refuses a header as a whole for a character set that it cannot convert, and makes it an empty one for an
    element without an end. Then it is what comes before the bytes that do not parse.
    """
    with _open(path) as file:
        header = Dataset()
        with suppress(Exception):  # parsers fail on broken bytes in their own ways, pydicom's by OSError too
            header = dcmread(file, defer_size=_LARGEST_VALUE, stop_before_pixels=True, force=True)
    return _without_deferred(header) or _read_what_parses(path)


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:

        def read_at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        yield cast("BinaryIO", BoundedFile(read_at, path.stat().st_size, _MEMORY))


def _without_deferred(header: Dataset) -> Dataset:
    """Leave out the elements whose values pydicom has passed over: later it would look for them in vain."""
    for tag in list(header.keys()):
        if _is_deferred(header.get_item(tag, keep_deferred=True)):
            del header[tag]
    return header


def _is_deferred(element: DataElement | RawDataElement) -> bool:
    """Tell whether pydicom has passed over a value because it is too large."""
    return isinstance(element, RawDataElement) and element.value is None and element.length != 0


def _read_what_parses(path: Path) -> Dataset:
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    with _open(path) as file, suppress(Exception):  # where the bytes stop to make sense; what came before counts
        syntax = UID(read_file_meta_info(path).TransferSyntaxUID)
        file.seek(data_set_offset(file.read(144)))
        for element in _read_elements(file, syntax):
            if not _is_deferred(element):
                elements[BaseTag(element.tag)] = element
    header = Dataset(elements)
    header.set_original_encoding(is_implicit_vr=False, is_little_endian=True, character_encoding=encodings(header))
    return header


def _read_elements(file: BinaryIO, syntax: UID) -> Iterator[DataElement | RawDataElement]:
    """Read element by element; the character set, by which pydicom reads the others, as text whatever its VR."""
    found: list[tuple[str | None, int]] = []

    def reaches_character_set(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag == _CHARACTER_SET:
            found.append((vr, length))
        return bool(found) or _reaches_pixels(tag, vr, length)

    encoding = (syntax.is_implicit_VR, syntax.is_little_endian)
    yield from data_element_generator(file, *encoding, reaches_character_set, _LARGEST_VALUE)
    for vr, length in found:
        file.seek(12 if vr in EXPLICIT_VR_LENGTH_32 else 8, 1)  # tag, VR and length (PS3.5 7.1)
        value = file.read(length)
        yield RawDataElement(_CHARACTER_SET, "CS", length, value, 0, *encoding)
        yield from data_element_generator(file, *encoding, _reaches_pixels, _LARGEST_VALUE)


def _reaches_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= _PIXELS
