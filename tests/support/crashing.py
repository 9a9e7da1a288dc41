"""A process that has imported TFX, and forks a child for every operation that may be killed.

    python crashing.py     (a `Case` after the other, pickled, on standard input; an `Ended` each on
                            standard output)

It has no other threads, and opens no metadata itself, so a child is as good as a fresh process, and
costs a few hundredths of a second.
"""

import importlib
import logging
import os
import pickle
import subprocess
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disk import Cut, Disk, Tree
from steps import Steps

from foundation.errors import GauntletError

CRASHED = 70
"""Exit code for what is no error that a user can understand."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """An operation, and where it ends.

    function: "module:function", of the root's folder and `arguments`. stop: see `Steps`. cuts: what
    power cuts leave at that step is told too.
    """

    function: str
    folder: Path
    arguments: dict[str, Any] = field(default_factory=dict)
    stop: int = 0
    torn: bool = False
    cuts: bool = False


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a case ended: its exit code, what it said, its steps, and what power cuts leave."""

    code: int
    said: str = ""
    steps: tuple[str, ...] = ()
    trees: dict[Cut, Tree] = field(default_factory=dict)


def not_followed(name: str) -> bool:
    """sqlite's durability is its own; artifacts are read only here; a lock has no content."""
    return name.startswith("metadata.sqlite") or name in ("artifacts", ".lock")


def run(case: Case, report: int) -> None:
    """Do a case and end this process; the report goes to a descriptor."""
    disk = Disk(case.folder, not_followed) if case.cuts else None
    steps = Steps(case.folder, case.stop, case.torn, disk)

    def tell(code: int, said: str = "") -> None:
        trees = {cut: disk.leftovers(cut, case.stop) for cut in Cut} if disk else {}
        ended = Ended(code=code, said=said, steps=tuple(steps.done), trees=trees)
        with os.fdopen(os.dup(report), "wb") as file:
            pickle.dump(ended, file)

    steps.at_end = lambda: tell(137)
    module, _, function = case.function.partition(":")
    try:
        with steps.counted():
            getattr(importlib.import_module(module), function)(case.folder, **case.arguments)
        tell(0)
    except GauntletError as error:
        tell(error.exit_code, str(error))
    except BaseException:
        tell(CRASHED, traceback.format_exc())
    os._exit(0)


def serve() -> None:
    """Read cases and do them until the other side goes."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    while True:
        try:
            case: Case = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        importlib.import_module(case.function.partition(":")[0])  # once, for all children
        ours, theirs = os.pipe()
        if (child := os.fork()) == 0:
            os.close(ours)
            run(case, theirs)
        os.close(theirs)
        with os.fdopen(ours, "rb") as pipe:
            told = pipe.read()
        os.waitpid(child, 0)
        ended = pickle.loads(told) if told else Ended(code=CRASHED, said="it died without a word")
        pickle.dump(ended, answers)
        answers.flush()


class Crashes:
    """The other side: does cases in children of one process."""

    def __init__(self) -> None:
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths},
        )

    def __call__(self, case: Case) -> Ended:
        """How a case ended."""
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump(case, self._process.stdin)
        self._process.stdin.flush()
        ended: Ended = pickle.load(self._process.stdout)
        return ended

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(60)


if __name__ == "__main__":
    from crashing import serve as serve_cases  # pickles name this module, not __main__

    serve_cases()
