"""The child process that does the work, and the pipe through which it reports.

    python -m gauntlet.child EVENTS_FD TASK_MODULE:FUNCTION    (request pickled on standard input)

The parent gives it the environment that TensorFlow needs before it is imported, and a log file as
standard output and error. Log records of the `gauntlet` loggers become events: JSON lines with
`message` and, where the record has them, `node`, `state`, `seconds`, `progress`, `advance`. The
last event has `result` or `error`.
"""

import base64
import importlib
import json
import logging
import os
import pickle
import sys
import traceback
from typing import Any, TextIO

from foundation.errors import GauntletError
from foundation.process import end_with_parent

FIELDS = ("node", "state", "seconds", "progress", "advance")


class EventHandler(logging.Handler):
    """Writes a log record as an event."""

    def __init__(self, pipe: TextIO) -> None:
        super().__init__(logging.INFO)
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        self.send({"message": record.getMessage()} | fields)

    def send(self, event: dict[str, Any]) -> None:
        self._pipe.write(json.dumps(event) + "\n")
        self._pipe.flush()


def main() -> None:
    """Run the task that the command line names and report how it ended."""
    end_with_parent()
    events_fd, task = sys.argv[1:]
    handler = EventHandler(os.fdopen(int(events_fd), "w"))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    for to_log_file in logging.getLogger().handlers:  # many records a second that only move a bar
        to_log_file.addFilter(lambda record: not hasattr(record, "progress"))
    logging.getLogger("gauntlet").addHandler(handler)
    module, _, function = task.partition(":")
    try:
        result = getattr(importlib.import_module(module), function)(pickle.load(sys.stdin.buffer))
        handler.send({"result": base64.b64encode(pickle.dumps(result)).decode()})
    except GauntletError as error:
        traceback.print_exc()
        handler.send({"error": str(error), "kind": type(error).__name__})
    except Exception as error:
        traceback.print_exc()
        handler.send({"error": describe(error), "kind": "defect"})


def describe(error: BaseException) -> str:
    """The line of an unexpected error that says most: what a Beam worker raised, or the error
    itself."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"


if __name__ == "__main__":
    main()
