"""How a process is asked to stop: SIGTERM and SIGHUP raise what Ctrl-C raises, so that whatever is
under way cleans up behind it."""

import contextlib
import signal
import threading
from collections.abc import Collection, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(KeyboardInterrupt):
    """A signal has asked this process to stop. Where it was a child, this is how it ended."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        if self.number == signal.SIGINT:
            return "interrupted"
        return f"stopped by {signal.Signals(self.number).name}"


class _Requests:
    """What this process was asked so far.

    heard: what was raised for it last.
    again: signals that are heard a second time.
    sheltered: depth of `sheltered`. late: what was asked meanwhile.
    """

    def __init__(self) -> None:
        self.heard: Stopped | None = None
        self.again: Collection[int] = ()
        self.sheltered = 0
        self.late: int | None = None

    def hear(self, number: int, _: FrameType | None = None) -> None:
        """The handler of all the signals."""
        if self.heard and number not in self.again:
            return
        if self.sheltered:
            self.late = number
            return
        self.heard = Stopped(number)
        raise self.heard


_requests = _Requests()


def heard() -> Stopped | None:
    """What was raised in this process, whoever caught it; None where nobody asked it to stop."""
    return _requests.heard


def listen(again: Collection[int] = ()) -> None:
    """From now on a signal raises `Stopped` in the main thread, once; those that are ignored, as
    under nohup, stay so.

    Args:
        again: signals that raise it a second time.
    """
    _requests.again = again
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _requests.hear)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """A command meanwhile stops at a signal, and at once at a second Ctrl-C: other signals come in
    twos by themselves. Where it was stopped, or a child of it, no signal disturbs what is left to
    do."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    _requests.heard = None
    listen(again=(signal.SIGINT,))
    try:
        yield
    except KeyboardInterrupt:
        _requests.heard = _requests.heard or Stopped()
        raise
    finally:
        _requests.again = ()
        for number, handler in before.items():
            if handler is not None and not _requests.heard:
                signal.signal(number, handler)


@contextlib.contextmanager
def sheltered() -> Iterator[None]:
    """What happens meanwhile in the main thread is not torn; a signal is heard afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requests.sheltered += 1
    try:
        yield
    finally:
        _requests.sheltered -= 1
        late = _requests.late
        if late is not None and not _requests.sheltered:
            _requests.late = None
            _requests.hear(late)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """A process that is started meanwhile gets no signal before it calls `listen`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
