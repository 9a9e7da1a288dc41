"""Work whose libraries take seconds to import: that is a phase of its own, so that a person sees
why nothing else moves yet."""

import contextlib
import importlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from foundation.events import phase
from foundation.sandbox import Sandbox
from gauntlet.supervisor import call
from pipeline.root.root import LOG, Root


@dataclass(frozen=True, kw_only=True)
class Work:
    """A function, "package.module:function", its one argument, and the library that the module
    imports."""

    library: str
    function: str
    request: Any


def call_with(
    library: str,
    function: str,
    request: Any,
    log: Path,
    console: Console,
    sandbox: Sandbox | None = None,
) -> Any:
    """What `function` returns for the request, called in a child process that shows the import of
    the library as a phase. sandbox: what that process is confined to."""
    work = Work(library=library, function=function, request=request)
    return call("gauntlet.work:do", work, log, console, sandbox)


@contextlib.contextmanager
def temporary_log() -> Iterator[Path]:
    """A log for work that no root keeps one of. After a failure it stays, and the message of that
    names it."""
    log = Path(tempfile.mkdtemp(prefix="gauntlet-log-")) / LOG
    try:
        yield log
    except KeyboardInterrupt:
        shutil.rmtree(log.parent)
        raise
    shutil.rmtree(log.parent)


@contextlib.contextmanager
def log_of(root: Root) -> Iterator[Path]:
    """The log of a root; a temporary one for a user who may only read the root."""
    try:
        open(root.log, "a").close()
    except OSError:
        with temporary_log() as log:
            yield log
    else:
        yield root.log


def do(work: Work) -> Any:
    """Import the module, and call the function."""
    module, _, name = work.function.partition(":")
    with phase(work.library):
        function = getattr(importlib.import_module(module), name)
    return function(work.request)
