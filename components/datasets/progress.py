"""Progress as log records, so that this package needs to know nothing about progress bars.

A record carries `extra={"progress": (done, total)}`; the command line draws bars from them, a plain
log may drop them. The rate is limited here because callers report once a record or a block.
"""

import logging
import time

log = logging.getLogger("gauntlet.data")

SECONDS_BETWEEN_RECORDS = 0.1


class Progress:
    """One long step: `update` as often as you like, at most ten log records a second come out."""

    def __init__(self, message: str, total: int) -> None:
        self._message = message
        self._total = total
        self._next_time = 0.0

    def update(self, done: int) -> None:
        """Log `(done, total)`; the last step is always logged, so that a bar can close."""
        now = time.monotonic()
        if done >= self._total or now >= self._next_time:
            self._next_time = now + SECONDS_BETWEEN_RECORDS
            log.info(self._message, extra={"progress": (min(done, self._total), self._total)})

    def finish(self) -> None:
        """Log the last step, for callers whose own count does not reach `total` exactly."""
        self.update(self._total)
