"""How often it is tried again when the process that works on an image is lost: twice for the image, few times a study.

A process may be lost by no fault of the image, to a machine that runs out of memory; so one loss proves nothing.
Many do, and the images of one study must not keep those of others waiting for hours.
"""

from collections.abc import Callable
from typing import TypeVar

from dicom_node.errors import CageError
from dicom_node.settings import AnalysisSettings

T = TypeVar("T")


class Patience:
    """What is left of it for one study."""

    def __init__(self, settings: AnalysisSettings) -> None:
        self._tries = settings.tries_per_image
        self._left = settings.crashes_per_study

    @property
    def is_exhausted(self) -> bool:
        """Whether the rest of the study is to be left alone."""
        return self._left <= 0

    def insist(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, after as many losses as an image may cost; raises its last `CageError`."""
        tries = 1
        while True:
            try:
                return work()
            except CageError:
                self._left -= 1
                if tries >= self._tries or self.is_exhausted:
                    raise
                tries += 1
