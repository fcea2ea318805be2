"""How many objects were refused, by status: counted in the audit trail as it grows."""

import json
from collections import Counter
from pathlib import Path

from dicom_node.audit.trail import AuditEvent, AuditTrail

_RECEIVED = f'"{AuditEvent.INSTANCE_RECEIVED}"'.encode()
_SUCCESS = b'"status":0,'


class RefusalCounter:
    """Counts the C-STOREs that were not answered with Success since it was made; reads each line once."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._counts: Counter[int] = Counter()
        self._offsets = {path: path.stat().st_size for path in trail.files()}

    def count(self) -> dict[int, int]:
        """Return how many were refused with each status (PS3.4 Table B.2-1)."""
        for path in self._trail.files():
            self._read_on(path)
        return dict(self._counts)

    def _read_on(self, path: Path) -> None:
        offset = self._offsets.get(path, 0)
        if path.stat().st_size <= offset:
            return
        with path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written: read when it is whole
                offset += len(line)
                if _RECEIVED in line and _SUCCESS not in line:
                    self._take(line)
        self._offsets[path] = offset

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            event, status = said["event"], int(said["status"])
        except (ValueError, LookupError, TypeError):
            return  # torn by a crash
        if event == AuditEvent.INSTANCE_RECEIVED and status:
            self._counts[status] += 1
