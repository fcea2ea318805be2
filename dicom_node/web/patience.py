"""How long a request may take to arrive: whoever begins many and ends none would take all connections for ever."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_S = 20.0
"""From the first byte of a header, or the beginning of a connection, to the header's end."""
BODY_S, BODY_BYTES_A_SECOND = 60.0, 4000
"""A body must be complete within this, or come at this rate or faster."""


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that hangs up where a header does not come to its end in time; uvicorn itself would wait for ever."""

    _header_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first header."""
        super().connection_made(transport)
        self._wait_for_header()

    def data_received(self, data: bytes) -> None:
        """Wait on, until a request has begun to be answered; what comes after its answer is the next header."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        elif self._header_deadline is None:
            self._wait_for_header()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_header(self) -> None:
        self._header_deadline = self.loop.call_later(HEADER_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._header_deadline is not None:
            self._header_deadline.cancel()
            self._header_deadline = None
