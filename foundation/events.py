"""Progress as log records, so that who reports needs to know nothing about progress bars.

A record says how work goes by the fields of its `extra`, whose names stand in `Fields` and nowhere
else. The command line draws lines and bars from them, a plain log shows the messages.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypedDict, cast

log = logging.getLogger("gauntlet.events")

SECONDS_BETWEEN_RECORDS = 0.1

State = Literal["started", "finished", "cached", "failed"]


class Fields(TypedDict, total=False):
    """What a record may say beside its message; it is written as `extra=Fields(...)`.

    node: node of the pipeline, or phase of a command, that changed its state.
    state: its new state.
    seconds: time that it took, once it is over.
    progress: steps done, and steps in all.
    advance: images done since the last record, or what `unit` says.
    total: of these in all, where that is known.
    unit: name of what is counted.
    stays: whether the message is for a person, and stays on the terminal.
    """

    node: str
    state: State
    seconds: float
    progress: tuple[int, int]
    advance: int
    total: int
    unit: str
    stays: bool


def fields_of(record: logging.LogRecord) -> Fields:
    """The fields that the record has."""
    present = {name: vars(record)[name] for name in Fields.__annotations__ if hasattr(record, name)}
    return cast(Fields, present)


class Progress:
    """One long step: `update` as often as you like, at most ten log records a second come out."""

    def __init__(self, message: str, total: int) -> None:
        self._message = message
        self._total = total
        self._next_time = 0.0

    def update(self, done: int, message: str = "") -> None:
        """Log `(done, total)`; the last step is always logged, so that a bar can close. message: in
        place of the one for all steps."""
        now = time.monotonic()
        if done >= self._total or now >= self._next_time:
            self._next_time = now + SECONDS_BETWEEN_RECORDS
            steps = min(done, self._total), self._total
            log.info(message or self._message, extra=Fields(progress=steps))

    def finish(self) -> None:
        """Log the last step, for callers whose own count does not reach `total` exactly."""
        self.update(self._total)


@dataclass
class Phase:
    """A timed step while it goes on; `seconds` is known at its end. Who finds that nothing had to
    be done sets `state` to `cached`."""

    state: State = "finished"
    seconds: float = 0.0


@contextmanager
def phase(name: str) -> Iterator[Phase]:
    """Log the start and the end of a step: a node of a pipeline, or what a command does besides."""
    step = Phase()
    begin = time.monotonic()
    log.info("%s started", name, extra=Fields(node=name, state="started"))
    try:
        yield step
    except BaseException:
        step.state = "failed"
        raise
    finally:
        step.seconds = time.monotonic() - begin
        fields = Fields(node=name, state=step.state, seconds=step.seconds)
        log.info("%s %s after %.1f s", name, step.state, step.seconds, extra=fields)
