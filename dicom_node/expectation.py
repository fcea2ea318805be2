"""What an archive says that a study holds, against what has come of it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ListedImage:
    """An image that an archive lists."""

    sop_instance_uid: str
    series_instance_uid: str
    modality: str
    series_number: int | None = None
    instance_number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What the archive said of a study when it was last asked."""

    archive: str
    """Its name in the configuration."""
    listed: int | None
    """Number of images that it lists; None: it could not be asked."""
    missing: tuple[ListedImage, ...] = ()
    """Those of them that have not come."""
