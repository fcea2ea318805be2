"""The header of a stored file, as much of it as parses."""

from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator, read_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from dicom_node.durable import data_set_offset

_CHARACTER_SET = Tag(0x0008, 0x0005)
_PIXELS = 0x7FE00000


def read_header(path: Path) -> Dataset:
    """Read a Part 10 file without its pixel data; OSError where there is none to read.

    pydicom refuses a header as a whole for a character set of the wrong value representation, or for one element
    without an end. Then it is what comes before the bytes that do not parse.
    """
    try:
        return dcmread(path, stop_before_pixels=True, force=True)
    except OSError:
        raise
    except Exception:  # noqa: BLE001 - parsers fail in their own ways on broken bytes; the rest of the header is wanted
        return _read_elements(path)


def _read_elements(path: Path) -> Dataset:
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    try:
        syntax = UID(read_file_meta_info(path).TransferSyntaxUID)
        with path.open("rb") as file:
            file.seek(data_set_offset(file.read(144)))
            for element in data_element_generator(
                file, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_reaches_pixels
            ):
                if element.tag == _CHARACTER_SET and isinstance(element, RawDataElement):
                    # The element by which pydicom reads the others: text, whatever is written beside it.
                    element = element._replace(VR="CS")  # noqa: PLW2901 - the same element
                elements[BaseTag(element.tag)] = element
    except OSError:
        raise
    except Exception:  # noqa: BLE001, S110 - here the bytes stop to make sense: what was read before them counts
        pass
    return Dataset(elements)


def _reaches_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= _PIXELS
