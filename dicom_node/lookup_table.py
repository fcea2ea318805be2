"""Reading a Modality or VOI LUT of the header (PS3.3 C.11.1.1, C.11.2.1.1)."""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset


def read_table(item: Dataset) -> tuple[int, NDArray[np.integer]]:
    """Return the first value that is mapped, as it stands, and what this and the following ones are mapped to.

    Raises whatever an element raises that is missing or no number.
    """
    declared, first_mapped, _bits = (int(value) for value in item.LUTDescriptor)
    entries = declared % 65536 or 65536  # 0 stands for 65,536; it may have been read as SS
    data = item.LUTData
    if isinstance(data, bytes):
        # 8-bit entries may be packed two to a word (C.11.1.1.1).
        table: NDArray[np.integer] = np.frombuffer(data, np.dtype("<u2") if len(data) >= 2 * entries else np.uint8)
    else:
        table = np.asarray(data)
    return first_mapped, table[:entries]
