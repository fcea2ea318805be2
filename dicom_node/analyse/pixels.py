"""From a DICOM image to a `Radiograph`: decode, then the display pipeline, in one order for every image."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_node.analyse.codestream import MAX_PIXELS, frame_shape
from dicom_node.analyse.geometry import pixel_aspect, spacing_mm
from dicom_node.analyse.grayscale import display_table
from dicom_node.display_shutter import find_opening
from dicom_node.errors import UndecodableImageError
from dicom_node.header import code, number
from inference.phrases import Phrase
from inference.types import Float32Array, Radiograph

_DECODER = {
    ExplicitVRLittleEndian: "",
    ImplicitVRLittleEndian: "",
    JPEGLosslessSV1: "pylibjpeg",
    JPEGLossless: "pylibjpeg",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    RLELossless: "pylibjpeg",
    JPEGBaseline8Bit: "pylibjpeg",
    JPEGExtended12Bit: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
}
"""The pydicom plugin for each transfer syntax: named, so that what else is installed cannot change a picture."""

DECODABLE_TRANSFER_SYNTAXES: tuple[UID, ...] = tuple(_DECODER)
"""Every transfer syntax that `load_radiograph` decodes. Without Deflated: it inflates without limit."""

_COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR"})
_SAMPLE_EVERY = 2**18
"""The histogram is taken from about this many pixels of the image."""


def load_radiograph(path: Path) -> Radiograph:
    """Read a Part 10 file and make it a `Radiograph`.

    Raises
    ------
    UndecodableImageError
        Whatever is wrong with the file or its pixels. The message holds no value of the header.
    """
    with undecodable("the file cannot be read as DICOM"):
        _check_transfer_syntax(read_file_meta_info(path))
        ds = dcmread(path)
    return to_radiograph(ds)


def to_radiograph(ds: Dataset) -> Radiograph:
    """Make a data set with pixel data and file meta information a `Radiograph`.

    Grey: stored bits, Modality LUT, VOI LUT or window or percentiles, inversion (`display_table`). Colour: luminance.
    What lies outside a display shutter is black.

    Raises
    ------
    UndecodableImageError
        Whatever is wrong with its pixels. The message holds no value of the header.
    """
    with undecodable("the pixel data could not be decoded"):
        _check_transfer_syntax(ds.file_meta)
        _check_frame(ds)
        _check_length(ds)
        aspect = pixel_aspect(ds)
        opening = find_opening(ds, aspect)
        pixels = _luminance(ds) if code(ds, "PhotometricInterpretation") in _COLOURS else _grey(ds, opening)
        if opening is not None:
            pixels[~opening] = 0
    return Radiograph(pixels=pixels, spacing_mm=spacing_mm(ds), pixel_aspect=aspect)


@contextmanager
def undecodable(what: str) -> Iterator[None]:
    """Turn every exception into `UndecodableImageError`: parsers and decoders fail in their own ways on broken bytes.

    The chain is cut, because the text of their exceptions may quote the header. A lack of memory is no fault of the
    bytes and stays a MemoryError, however deep pydicom has wrapped it.
    """
    try:
        yield
    except UndecodableImageError:
        raise
    except Exception as error:  # noqa: BLE001 - each of them means the same: this image has no picture
        if any(isinstance(cause, MemoryError) for cause in _causes(error)):
            raise MemoryError from None
        raise UndecodableImageError(Phrase("{what} ({kind})", what=Phrase(what), kind=type(error).__name__)) from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _check_transfer_syntax(file_meta: Dataset) -> None:
    if file_meta.get("TransferSyntaxUID") not in _DECODER:
        raise UndecodableImageError("its transfer syntax is not decoded here")


def _check_frame(ds: Dataset) -> None:
    """Refuse what cannot be one frame of a radiograph, before anything is allocated for it."""
    if "PixelData" not in ds:
        raise UndecodableImageError("it has no pixel data")
    if (number(ds, "NumberOfFrames") or 1) > 1:
        raise UndecodableImageError("it has more than one frame")
    if ds.Rows < 1 or ds.Columns < 1:
        raise UndecodableImageError("it has no rows or no columns")
    if ds.Rows * ds.Columns > MAX_PIXELS:
        raise UndecodableImageError(Phrase("it has more than {number} million pixels", number=MAX_PIXELS // 1_000_000))
    if ds.BitsAllocated not in {1, 8, 16, 32} or not 1 <= ds.BitsStored <= ds.BitsAllocated:
        raise UndecodableImageError("its bits allocated and bits stored are not those of an image")
    samples = 3 if code(ds, "PhotometricInterpretation") in _COLOURS - {"PALETTE COLOR"} else 1
    if ds.SamplesPerPixel != samples:
        raise UndecodableImageError("its samples per pixel do not fit its photometric interpretation")


def _check_length(ds: Dataset) -> None:
    """Refuse pixel data whose size is not the one that rows and columns say."""
    if _transfer_syntax(ds).is_encapsulated:
        declared = frame_shape(get_frame(ds.PixelData, 0, number_of_frames=1))
        if declared not in {None, (ds.Rows, ds.Columns, ds.SamplesPerPixel)}:
            raise UndecodableImageError("the compressed image has another shape than its header says")
        return
    row_bits = ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated
    if code(ds, "PhotometricInterpretation") == "YBR_FULL_422":
        row_bits = row_bits * 2 // 3  # two pixels share their chrominance (PS3.3 C.7.6.3.1.2)
    surplus = 8 * len(ds.PixelData) - ds.Rows * row_bits
    if surplus < 0:
        raise UndecodableImageError("its pixel data is shorter than its rows and columns say")
    if surplus >= max(row_bits, 16):
        raise UndecodableImageError("its pixel data is longer than its rows and columns say")


def _transfer_syntax(ds: Dataset) -> UID:
    return UID(ds.file_meta.TransferSyntaxUID)


def _decode(ds: Dataset, *, raw: bool) -> NDArray[np.integer]:
    """Decode the first frame as the plugin gives it, or (not raw) with YBR turned into RGB."""
    plugin = _DECODER[_transfer_syntax(ds)]
    pixels: NDArray[np.integer] = pixel_array(
        ds,
        index=0,
        raw=raw,
        decoding_plugin=plugin,
        number_of_frames=1,
        view_only=ds.BitsAllocated > 1,
        correct_unused_bits=False,
    )
    return pixels


def _grey(ds: Dataset, opening: NDArray[np.bool_] | None) -> Float32Array:
    array = _decode(ds, raw=True)
    cells = array.view(f"u{array.dtype.itemsize}")
    if cells.itemsize <= 2:
        domain = np.arange(2 ** (8 * cells.itemsize), dtype=np.int64)
    else:
        domain, cells = np.unique(cells, return_inverse=True)
        domain = domain.astype(np.int64)
    step = max(1, int((cells.size / _SAMPLE_EVERY) ** 0.5))
    sample = cells[::step, ::step]
    seen = sample.ravel() if opening is None else sample[opening[::step, ::step]]
    counts = np.bincount(seen, minlength=domain.size)
    pixels: Float32Array = display_table(ds, _stored_values(ds, domain), counts)[cells]
    return pixels


def _stored_values(ds: Dataset, cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Take the stored value out of each pixel cell: BitsStored bits below HighBit, signed or not (PS3.5 8.1.1).

    What else is in the cell (overlays, garbage) is dropped. A decoder of JPEG, JPEG-LS or JPEG 2000 gives values, not
    cells: there HighBit says nothing.
    """
    bits, high_bit = int(ds.BitsStored), int(number(ds, "HighBit") or 0)
    is_cell = not _transfer_syntax(ds).is_encapsulated or _transfer_syntax(ds) == RLELossless
    shift = high_bit + 1 - bits if is_cell and bits <= high_bit + 1 <= ds.BitsAllocated else 0
    stored: NDArray[np.int64] = (cells >> shift) & (2**bits - 1)
    if number(ds, "PixelRepresentation") == 1:
        stored -= (stored >> (bits - 1)) << bits
    return stored


def _luminance(ds: Dataset) -> Float32Array:
    """Turn colour into grey: Y of ITU-R BT.601, which PS3.3 C.7.6.3.1.2 uses for YBR_FULL."""
    if code(ds, "PhotometricInterpretation") == "PALETTE COLOR":
        rgb = apply_color_lut(_decode(ds, raw=True), ds)
        white = float(np.iinfo(rgb.dtype).max)
    else:
        rgb = _decode(ds, raw=False)
        white = 2.0**ds.BitsStored - 1
    red, green, blue = (rgb[..., channel].astype(np.float32) for channel in range(3))
    grey: Float32Array = (0.299 * red + 0.587 * green + 0.114 * blue) / np.float32(white)
    return np.clip(grey, 0, 1, out=grey)
