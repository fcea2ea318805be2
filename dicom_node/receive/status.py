"""What a C-STORE is answered with. A status says one thing only: whether this node has safe custody of the object."""

from enum import IntEnum

from dicom_node.errors import NodeError


class StoreStatus(IntEnum):
    """C-STORE response statuses: PS3.4 Table B.2-1, and PS3.7 9.1.1.1.9 for those of the 01xx range.

    The Standard leaves the last two or three digits of A7xx, A9xx and Cxxx to the implementation.
    """

    SUCCESS = 0x0000
    """The object is durable here, whether or not it can be analysed."""
    PROCESSING_FAILURE = 0x0110
    """The node made a mistake: nothing was kept, and sending again may work."""
    INVALID_SOP_INSTANCE = 0x0117
    """A UID is not one (PS3.5 9.1): it names no instance, and no file."""
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """The SOP class is not the abstract syntax of the presentation context it came through."""
    OUT_OF_RESOURCES = 0xA700
    """No room, or a disk that does not keep what is written: nothing was kept, send again later."""
    DATA_SET_MISMATCH = 0xA900
    """The data set says another SOP class or instance than the command."""
    CANNOT_UNDERSTAND = 0xC000
    """The data set does not parse in the negotiated transfer syntax."""
    MISSING_SOP_CLASS_UID = 0xC010
    """The data set has no (0008,0016) SOP Class UID."""
    MISSING_SOP_INSTANCE_UID = 0xC011
    """The data set has no (0008,0018) SOP Instance UID."""
    MISSING_STUDY_INSTANCE_UID = 0xC012
    """The data set has no (0020,000D) Study Instance UID."""
    MISSING_SERIES_INSTANCE_UID = 0xC013
    """The data set has no (0020,000E) Series Instance UID."""


class ReportStatus(IntEnum):
    """N-EVENT-REPORT response statuses (PS3.7 10.1.1.1.8)."""

    SUCCESS = 0x0000
    """What the report says is recorded durably."""
    PROCESSING_FAILURE = 0x0110
    """Nothing was recorded: the report is of no transaction of its sender, or not to be read."""
    NO_SUCH_EVENT_TYPE = 0x0113
    """The event type is none of a report (PS3.4 Table J.3-2)."""


class RefusedError(NodeError):
    """An object that is not taken: the status to answer, and an Error Comment of at most 64 characters (VR LO)."""

    def __init__(self, status: StoreStatus, comment: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment[:64]
