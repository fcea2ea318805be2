"""Steps of the wall clock, which is set now and then; the monotonic clock is not."""

import time

_SLACK_S = 2.0
"""What two clocks may differ by because they are read one after the other, or one is being adjusted gently."""


class ClockWatch:
    """Notices that the wall clock has been set."""

    def __init__(self) -> None:
        self._wall, self._steady = time.time(), time.monotonic()

    def step(self) -> tuple[float, float]:
        """Return by how many seconds the wall clock was set since the last call, else 0; and how long ago that was."""
        wall, steady = time.time(), time.monotonic()
        passed_s = steady - self._steady
        step_s = wall - self._wall - passed_s
        self._wall, self._steady = wall, steady
        return (step_s if abs(step_s) > _SLACK_S else 0.0), passed_s
