"""Which Secondary Captures are radiographs: digitised films, and computed radiographs that a converter wrapped.

The rest are screen shots, scanned documents and the pictures of other programs, those of other AI included.
"""

from pydicom import Dataset
from pydicom.uid import (
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from dicom_node.header import code, number, texts

GREY_CLASSES = frozenset(
    {
        SecondaryCaptureImageStorage,
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    }
)
"""SOP classes of Secondary Captures that can hold a radiograph."""
_MODALITIES = frozenset({"CR", "DX", "DR", "RG"})
_CONVERSIONS = frozenset({"DF", "DI", "SI"})


def is_radiograph(header: Dataset) -> bool:
    """Tell whether an instance of one of the `GREY_CLASSES` is a radiograph: one frame, not made from another image."""
    return says_digitised(header) and not is_secondary(header) and not is_multi_frame(header)


def says_digitised(header: Dataset) -> bool:
    """Tell whether a Secondary Capture says that it is a radiograph in grey, from a film digitiser or a CR converter.

    Those say so by Modality and ConversionType (PS3.3 C.8.6.1): DF digitised film, DI digital interface, SI scanned
    image. Screen shots are WSD, scanned documents SD.
    """
    return (
        code(header, "Modality") in _MODALITIES
        and code(header, "ConversionType") in _CONVERSIONS
        and code(header, "PhotometricInterpretation").startswith("MONOCHROME")
    )


def is_secondary(header: Dataset) -> bool:
    """Tell whether an image was made from others after the examination (PS3.3 C.7.6.1.1.2, value 2).

    DERIVED in value 1 does not say so, for most DX are derived and primary; nor does SECONDARY on a digitised film,
    which is the original.
    """
    values = [text.strip().upper() for text in texts(header, "ImageType")]
    return "SECONDARY" in values[1:2] and code(header, "ConversionType") != "DF"


def is_multi_frame(header: Dataset) -> bool:
    """Tell whether an image has more than one frame."""
    return (number(header, "NumberOfFrames") or 1) > 1
