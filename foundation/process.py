"""One protocol between processes: a function in a fresh interpreter, its log records replayed here.

    result = Child("package.module:function", argument, output=log_file).result()

`follow` waits for several at once. A socket pair joins parent and child: a pickled `Request` goes
there, pickled log records come back and at last an `Ending`. Nobody but our own child can write to
it, so unpickling is safe. `foundation.child` is the other side.
"""

import contextlib
import logging
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import IO, Any

from foundation.environment import child_environment
from foundation.errors import GauntletError, ProcessDied, RunError
from foundation.sandbox import Sandbox, values_in

NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}
"""For a child that needs none: TensorFlow would take all of it."""

SECONDS_TO_END = 30.0
"""Time in which a child that has reported its ending may end by itself."""

OnRecord = Callable[[logging.LogRecord], None]


@dataclass(frozen=True)
class Request:
    """What the child shall run. own_output: whether it prints into a file of its own, where it then
    logs too; where it prints with the parent, the parent's replay is enough."""

    function: str
    arguments: tuple[Any, ...]
    own_output: bool


@dataclass(frozen=True, kw_only=True)
class Ending:
    """What came of it: a result or an error, and when."""

    result: Any = None
    error: GauntletError | None = None
    time: float = field(default_factory=time.time)


def replay(record: logging.LogRecord) -> None:
    """Log a child's record here, as if it had been logged in this process."""
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


class Child:
    """A function that begins to run in a fresh interpreter; who leaves the context ends it.

    Args:
        function: `package.module:function`.
        arguments: anything that can be pickled; the child imports what they need.
        name: subject of the sentence that tells of the child's death.
        environment: changes of the environment, beside those of `foundation.environment`.
        output: open file for all that the child prints; by default it prints where we do.
        on_record: receiver of the log records of our loggers.
        sandbox: what it is confined to; None for nothing.
    """

    def __init__(
        self,
        function: str,
        *arguments: Any,
        name: str = "the process",
        environment: Mapping[str, str] | None = None,
        output: IO[Any] | None = None,
        on_record: OnRecord = replay,
        sandbox: Sandbox | None = None,
    ) -> None:
        self.name = name
        self._read = values_in if sandbox else pickle.loads
        self.ending: Ending | None = None
        self._on_record = on_record
        request = pickle.dumps(Request(function, arguments, own_output=output is not None))
        self.reports, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [
                    sys.executable, *(sandbox.arguments() if sandbox else []),
                    "-m", "foundation.child", str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[theirs.fileno()],
                env=child_environment(os.environ, environment or {}),
            )  # fmt: skip
        with contextlib.suppress(ConnectionError):  # it died at once, and `receive` will tell
            self.reports.send_bytes(request)

    def result(self, seconds: float | None = None) -> Any:
        """Wait for the child; returns what the function returned.

        Raises:
            GauntletError: the function's own error; a `Defect` where it raised any other.
            ProcessDied: the child was killed, or has not answered within `seconds`.
        """
        with self:
            ((_, ending),) = follow([self], seconds)
        if ending.error:
            raise ending.error
        return ending.result

    def receive(self) -> Ending | None:
        """Wait for one report; returns it where it is the last one."""
        try:
            report = self._read(self.reports.recv_bytes())
        except pickle.UnpicklingError as error:
            self.kill()
            report = Ending(error=RunError(f"{self.name} was ended: {error}"))
        except (EOFError, OSError):  # the child has gone, perhaps in the middle of a report
            died = ProcessDied(f"{self.name} ended with code {_explained(self.process.wait())}")
            report = Ending(error=died)
        if isinstance(report, Ending):
            self.ending = report
        else:
            self._on_record(report)
        return self.ending

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the process to end, where it has reported; kill it otherwise, or if it hangs."""
        try:
            self.process.wait(SECONDS_TO_END if self.ending else 0)
        except subprocess.TimeoutExpired:
            self.kill()
        self.reports.close()


def follow(
    children: Iterable[Child], seconds: float | None = None
) -> Iterator[tuple[Child, Ending]]:
    """The children as they end, with their endings; log records are handed on meanwhile.

    Raises:
        ProcessDied: not all of them have ended within `seconds`.
    """
    running = list(children)
    begin = time.monotonic()
    while running:
        left = None if seconds is None else max(0.0, begin + seconds - time.monotonic())
        ready = wait([child.reports for child in running], left)
        if not ready:
            names = ", ".join(child.name for child in running)
            raise ProcessDied(f"{names} did not answer within {seconds:g} seconds")
        for child in [child for child in running if child.reports in ready]:
            if ending := child.receive():
                running.remove(child)
                yield child, ending


def _explained(code: int) -> str:
    """The exit code, with what a signal usually means."""
    return f"{code} (killed, or out of memory)" if code < 0 else str(code)
