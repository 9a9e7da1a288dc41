"""The child's side of `foundation.process`: runs what the parent asks for and reports.

    python -m foundation.child SOCKET    (a descriptor; the parent sends a pickled `Request` there)

Knows nothing of what it runs. Beside `foundation` it imports only what request and function name,
so that the function finds a process as fresh as it can be.
"""

import importlib
import logging
import os
import pickle
import sys
import threading
import traceback
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from typing import NoReturn

from foundation.errors import Defect, GauntletError
from foundation.events import fields_of
from foundation.identity import check_own_packages
from foundation.process import Ending, Request
from foundation.stopping import Stopped, heard, listen, sheltered

ours = logging.getLogger("gauntlet")


class ToParent(QueueHandler):
    """Sends log records to the parent, then the ending."""

    def __init__(self, parent: Connection) -> None:
        super().__init__(parent)  # type: ignore[arg-type]  # only `enqueue` would use it as a queue
        self.setLevel(logging.INFO)
        self._parent = parent

    def enqueue(self, record: logging.LogRecord) -> None:
        with sheltered():  # half a record would spoil all that follows
            self._parent.send(record)

    def end(self, ending: Ending) -> None:
        """Send the last report; threads that go on logging are not heard any more."""
        ours.removeHandler(self)
        self.acquire()
        try:
            self._parent.send(ending)
        finally:
            self.release()


def main() -> None:
    """Run one function and report how it ended."""
    parent = Connection(int(sys.argv[1]))
    os.set_inheritable(parent.fileno(), False)  # programs that we start must not hold it open
    try:
        request = parent.recv_bytes()
    except EOFError:
        os._exit(1)
    end_with(parent)
    reports = ToParent(parent)
    try:
        listen()
        reports.end(Ending(result=run(request, reports)))
    except KeyboardInterrupt:
        stopped(heard() or Stopped(), reports)
    except Exception as error:
        if stop := heard():  # a library has made an error of its own of it
            stopped(stop, reports)
        traceback.print_exc()
        told = error if isinstance(error, GauntletError) else Defect(described(error))
        reports.end(Ending(error=told))


def stopped(stop: Stopped, reports: ToParent) -> NoReturn:
    """Report that, and end without waiting for threads that go on."""
    reports.end(Ending(error=stop))
    os._exit(GauntletError.exit_code)


def run(pickled: bytes, reports: ToParent) -> object:
    """Prepare this process and run the function."""
    check_own_packages()  # before unpickling, which imports what the arguments need
    request: Request = pickle.loads(pickled)
    log_to(reports, request.own_output)
    module, _, function = request.function.partition(":")
    return getattr(importlib.import_module(module), function)(*request.arguments)


def end_with(parent: Connection) -> None:
    """End this process when its parent does, also where no kernel tells of that (see
    `foundation.leash`): a thread of ours waits for the end of the connection. A killed command line
    would otherwise leave a child that goes on and holds the root's lock."""

    def watch() -> None:
        parent.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def log_to(reports: ToParent, own_output: bool) -> None:
    """Log to standard error what `is_kept`; records of our own loggers go to the parent, those that
    only move a bar included."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(is_kept)
    ours.addHandler(reports)
    ours.propagate = own_output


def is_kept(record: logging.LogRecord) -> bool:
    """Whether a log keeps a record: of ours all except those that only move a bar, many a second;
    of libraries warnings and errors. They say thousands of lines beside that in a run."""
    if record.levelno >= logging.WARNING:
        return True
    return record.name.partition(".")[0] == ours.name and "progress" not in fields_of(record)


def described(error: BaseException) -> str:
    """The line of an unexpected error that says most: what a Beam worker raised, or the error
    itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"


if __name__ == "__main__":
    main()
