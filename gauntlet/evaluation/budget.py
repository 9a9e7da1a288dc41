"""Work that ends at a point of time, and says what it left undone."""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

AGAIN = 0.5
"""Seconds after which work that goes on is told again."""


class OutOfTime(BaseException):
    """The time is over. No `Exception`, so that nobody takes it for a damaged file and goes on."""


@contextlib.contextmanager
def until(deadline: float | None) -> Iterator[None]:
    """What is inside ends at the deadline, wherever it is: the context then ends as if it were
    done, so whoever opened it looks at what was finished. In the main thread only.

    deadline: in seconds since the epoch; None for none. One that is over leaves no time at all.
    """
    if deadline is None:
        yield
        return

    inside = True

    def over(number: int, frame: FrameType | None) -> None:
        if inside:
            raise OutOfTime

    before = signal.signal(signal.SIGALRM, over)
    try:
        try:
            # Again and again: what is raised where Python frees an object is lost.
            signal.setitimer(signal.ITIMER_REAL, max(deadline - time.time(), 1e-3), AGAIN)
            yield
        finally:
            inside = False
            signal.setitimer(signal.ITIMER_REAL, 0)
    except OutOfTime:
        pass
    finally:
        signal.signal(signal.SIGALRM, before)
