"""Since when something does not answer: a mark on the disk, for every process of the node and for the next start."""

from dataclasses import dataclass
from pathlib import Path

from dicom_node.durable import PRIVATE_FILE


@dataclass(frozen=True)
class Silence:
    """An empty file that is there while something does not answer, as old as its silence."""

    mark: Path

    @property
    def since(self) -> float | None:
        """Unix time in seconds; None where it answered when last asked."""
        try:
            return self.mark.stat().st_mtime
        except OSError:
            return None

    def note(self, *, answers: bool) -> bool:
        """Note what came of asking; tell whether its silence has just begun."""
        if answers:
            self.mark.unlink(missing_ok=True)
            return False
        is_new = self.since is None
        if is_new:
            self.mark.touch(mode=PRIVATE_FILE)
        return is_new

    def since_beyond(self, patience_s: float, now: float) -> float | None:
        """Return `since` where that is longer than `patience_s` before `now`; None otherwise."""
        since = self.since
        return since if since is not None and now - since > patience_s else None
