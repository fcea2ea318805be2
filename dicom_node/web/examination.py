"""The doctor's checks, in a process of their own: they take seconds, load the models, and ask every archive."""

import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from dicom_node.analyse.cage import Cage
from dicom_node.errors import NodeError
from dicom_node.operate.finding import Finding
from dicom_node.settings import Settings

_LIMIT_S = 300
"""Of one check: that of the destinations asks each of them, one after the other."""


class Examination:
    """Examines the set-up when it is asked to, once at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    def findings(self) -> Iterator[Finding]:
        """Check one thing after the other, and give what each check finds as soon as it has ended."""
        if not self._lock.acquire(blocking=False):
            remedy = "ask again when that has ended"
            yield Finding(subject="doctor", ok=False, says="another examination is under way", remedy=remedy)
            return
        try:
            yield from self._examine()
        finally:
            self._lock.release()

    def _examine(self) -> Iterator[Finding]:
        cage = Cage("the doctor", _prepare, limit_s=_LIMIT_S)
        try:
            for number in range(cage.call(_count_checks)):
                yield from self._check(cage, number)
        except ChildProcessError:
            remedy = "the node's log says why; `dicom-node doctor` does the same checks"
            yield Finding(subject="doctor", ok=False, says="the checks cannot be started", remedy=remedy)
        finally:
            cage.close()

    def _check(self, cage: Cage, number: int) -> list[Finding]:
        try:
            return [Finding(**found) for found in cage.call(_check, number, self._settings)]
        except NodeError as error:
            remedy = "the node's log says more; `dicom-node doctor` does the same checks"
            return [Finding(subject="doctor", ok=False, says=str(error), remedy=remedy)]


def _prepare() -> Any:
    # Imported in the child alone: this process has no models.
    from dicom_node.operate.doctor import CHECKS  # noqa: PLC0415

    return CHECKS


def _count_checks(checks: Any) -> int:
    return len(checks)


def _check(checks: Any, number: int, settings: Settings) -> list[dict[str, Any]]:
    """Check in the child, which answers with plain values alone."""
    return [asdict(finding) for finding in checks[number](settings)]
