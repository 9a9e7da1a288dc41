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
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from foundation import leash
from foundation.environment import child_environment
from foundation.errors import GauntletError, ProcessDied, RunError
from foundation.events import Fields, fields_of
from foundation.sandbox import Sandbox, values_in
from foundation.stopping import Stopped, held_back, sheltered
from foundation.temporary import temporary_folder

NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}
"""For a child that needs none: TensorFlow would take all of it."""

SECONDS_TO_END = 30.0
"""Time in which a child that has reported its ending may end by itself."""

SECONDS_TO_STOP = 10.0
"""Time that a child has for its clean-up when we are asked to stop."""

SECONDS_BEFORE_TELLING = 1.0
"""Time after which a person is told that we wait for that."""

SECONDS_BETWEEN_LOOKS = 0.5
"""How often a child is looked at that says nothing: a process that it left may hold its connection
open after its death."""

log = logging.getLogger("gauntlet.process")

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
    error: GauntletError | Stopped | None = None
    time: float = field(default_factory=time.time)


def replay(record: logging.LogRecord) -> None:
    """Log a child's record here, as if it had been logged in this process."""
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def leashed(command: Sequence[str], number: int = signal.SIGKILL) -> list[str]:
    """The command line of a program of somebody else's that ends when this process does, however
    that happens. number: signal that it then gets."""
    start = [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), str(int(number))]
    return [*start, *command]


class Child:
    """A function that begins to run in a fresh interpreter; who leaves the context ends it.

    Its temporary files lie in a folder that is removed with it, however it ends. Start it from the
    thread that waits for it: the kernel ends it with that one.

    Args:
        function: `package.module:function`.
        arguments: anything that can be pickled; the child imports what they need.
        name: subject of the sentence that tells of the child's death.
        environment: changes of the environment, beside those of `foundation.environment`.
        output: open file for all that the child prints; by default it prints where we do.
        on_record: receiver of the log records of our loggers.
        sandbox: what it is confined to, and its temporary files beside that; None for nothing.
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
        self.last = "nothing yet"
        self._on_record = on_record
        request = pickle.dumps(Request(function, arguments, own_output=output is not None))
        with sheltered(), contextlib.ExitStack() as undone:
            folder = undone.enter_context(temporary_folder())
            self.reports, theirs = Pipe()
            undone.callback(self.reports.close)
            confined = sandbox.arguments(folder) if sandbox else []
            descriptor = str(theirs.fileno())
            own = {"TMPDIR": str(folder), **(environment or {})}
            with theirs, held_back():
                self.process = subprocess.Popen(
                    leashed([sys.executable, *confined, "-m", "foundation.child", descriptor]),
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                    pass_fds=[theirs.fileno()], env=child_environment(os.environ, own),
                )  # fmt: skip
            undone.callback(_kill, self.process)
            self._end = weakref.finalize(self, undone.pop_all().close)
        with contextlib.suppress(ConnectionError):  # it died at once, and `receive` will tell
            self.reports.send_bytes(request)

    def result(self, seconds: float | None = None) -> Any:
        """Wait for the child; returns what the function returned.

        Raises:
            GauntletError: the function's own error; a `Defect` where it raised any other.
            ProcessDied: the child was killed, or has not answered within `seconds`.
            Stopped: a signal asked the child, or us, to stop.
        """
        with self:
            ((_, ending),) = follow([self], seconds)
        if ending.error:
            raise ending.error
        return ending.result

    def heard(self) -> Ending | None:
        """Take a report where there is one; returns the last one, or that the child has died."""
        if self.reports.poll():
            return self.receive()
        has_died = self.process.poll() is not None and not self.reports.poll()
        return self.died() if has_died else None

    def receive(self) -> Ending | None:
        """Wait for one report; returns it where it is the last one."""
        try:
            report = self._read(self.reports.recv_bytes())
        except pickle.UnpicklingError as error:
            self.kill()
            report = Ending(error=RunError(f"{self.name} was ended: {error}"))
        except (EOFError, OSError):  # the child has gone, perhaps in the middle of a report
            return self.died()
        if isinstance(report, Ending):
            self.ending = report
        else:
            self.last = _shortly(report)
            self._on_record(report)
        return self.ending

    def died(self) -> Ending:
        """The ending of a child that has gone without one."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # it has only closed its connection
            self.process.wait(SECONDS_TO_END)
        self.kill()
        error = ProcessDied(f"{self.name} ended with {_explained(self.process.wait())}")
        self.ending = Ending(error=error)
        return self.ending

    def kill(self) -> None:
        """End it at once."""
        _kill(self.process)

    def tell(self, message: str) -> None:
        """Have a person read that, as if the child had said it."""
        fields = dict(Fields(stays=True))
        record = log.makeRecord(
            log.name, logging.INFO, __file__, 0, message, (), None, None, fields
        )
        with contextlib.suppress(OSError):  # the terminal has gone
            self._on_record(record)

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Wait for the process to end, where it has reported; kill it otherwise, or if it hangs.
        Where we are asked to stop, it gets time for its clean-up, and none at a second Ctrl-C."""
        try:
            if self.ending:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(SECONDS_TO_END)
            elif kind and issubclass(kind, KeyboardInterrupt):
                stop([self])
        finally:
            with sheltered():
                self._end()


def stop(children: Sequence[Child]) -> None:
    """Ask children to stop, and give all of them together the time for their clean-up. What they
    say is dropped: a signal may have met us in the middle of a report."""
    for child in children:
        child.process.terminate()
    begin, told = time.monotonic(), False
    while running := [child for child in children if child.process.poll() is None]:
        waited = time.monotonic() - begin
        if waited >= SECONDS_TO_STOP:
            break
        if waited >= SECONDS_BEFORE_TELLING and not told:
            told = True
            running[0].tell("stopping; Ctrl-C again ends it at once")
        for child in running:
            with contextlib.suppress(OSError):
                if child.reports.poll():
                    os.read(child.reports.fileno(), 2**16)
        time.sleep(0.02)


def follow(
    children: Iterable[Child], seconds: float | None = None, silence: float | None = None
) -> Iterator[tuple[Child, Ending]]:
    """The children as they end, with their endings; log records are handed on meanwhile.

    Args:
        seconds: time in which all of them must have ended.
        silence: time without a word from any of them after which they hang.

    Raises:
        ProcessDied: that time is over.
    """
    running = list(children)
    spent = quiet = 0.0
    while running:
        if seconds is not None and spent >= seconds:
            names = ", ".join(child.name for child in running)
            raise ProcessDied(f"{names} did not answer within {seconds:g} seconds")
        if silence is not None and quiet >= silence:
            raise ProcessDied(_hanging(running, silence))
        left = SECONDS_BETWEEN_LOOKS if seconds is None else seconds - spent
        begin = time.monotonic()
        ready = wait([c.reports for c in running], min(left, SECONDS_BETWEEN_LOOKS))
        # Longer were we, and perhaps our children, suspended by Ctrl-Z.
        passed = min(time.monotonic() - begin, 2 * SECONDS_BETWEEN_LOOKS)
        spent, quiet = spent + passed, 0.0 if ready else quiet + passed
        for child in list(running):
            if ending := child.heard():
                running.remove(child)
                yield child, ending


def _hanging(children: Sequence[Child], silence: float) -> str:
    """What each of them did last."""
    doings = (
        f"{child.name}{' is stopped, and' if _is_suspended(child.process.pid) else ''} said last: "
        f"{child.last}"
        for child in children
    )
    return f"nothing goes on since {silence:g} s; {'; '.join(doings)}"


def _shortly(record: logging.LogRecord) -> str:
    done, total = fields_of(record).get("progress", (0, 0))
    return record.getMessage() + (f" ({done} of {total})" if total else "")


def _is_suspended(pid: int) -> bool:
    """Whether somebody has sent SIGSTOP to a process; False where the system does not tell."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"
    return False


def _explained(code: int) -> str:
    """The exit code, or the signal with what it usually means."""
    if code >= 0:
        return f"code {code}"
    if -code == signal.SIGKILL:
        return f"signal {-code} (killed, or perhaps out of memory)"
    return f"signal {-code} ({signal.strsignal(-code)})"


def _kill(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
