"""Which patients each session has seen: so that the audit trail says it once, not at every refresh of a page."""

import threading
from collections import OrderedDict
from collections.abc import Collection

_MOST_SESSIONS = 500


class Seen:
    """Remembers in memory, by session, what was noted already. Safe to use from several threads."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, set[tuple[str, str]]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, session: str, kind: str, studies: Collection[str]) -> list[str]:
        """Remember studies; return those that this session has not seen before in this way."""
        with self._lock:
            known = self._sessions.setdefault(session, set())
            self._sessions.move_to_end(session)
            new = [uid for uid in studies if (kind, uid) not in known]
            known.update((kind, uid) for uid in new)
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return new
