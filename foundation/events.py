"""Progress as log records, so that this package needs to know nothing about progress bars.

A record carries `extra={"progress": (done, total)}`; the command line draws bars from them, a plain
log may drop them. The rate is limited here because callers report once a record or a block.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger("gauntlet.events")

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


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Log a step of a command that is no node of a pipeline, as the runner logs nodes."""
    begin = time.monotonic()
    log.info("%s started", name, extra={"node": name, "state": "started"})
    state = "failed"
    try:
        yield
        state = "finished"
    finally:
        log.info(
            "%s %s",
            name,
            state,
            extra={"node": name, "state": state, "seconds": time.monotonic() - begin},
        )
