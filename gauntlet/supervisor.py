"""Has a child process do the work and shows how it goes."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from foundation.environment import overruled
from foundation.errors import Defect, ProcessDied
from foundation.process import Child
from foundation.sandbox import Sandbox
from gauntlet.display import display_on
from gauntlet.voice import note

ENVIRONMENT = {"TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # else the first node takes the whole card


def call(
    function: str, request: Any, log: Path, console: Console, sandbox: Sandbox | None = None
) -> Any:
    """Run a function in a child process, its output in `log`, its progress on the console.

    Args:
        function: `package.module:function`, which takes one argument.
        request: that argument.
        log: file to append to.
        sandbox: what the child is confined to, and its temporary files beside that.

    Returns:
        What the function returned.

    Raises:
        GauntletError: the function's own error; the message names the log where it was unexpected.
    """
    if ignored := overruled(os.environ):
        names = ", ".join(ignored)
        note(console, f"{names} of the shell is not used: results do not depend on it")
    with display_on(console) as display, open(log, "a") as output:
        child = Child(
            function,
            request,
            name="the process that did the work",
            environment=ENVIRONMENT,
            output=output,
            on_record=display.show,
            sandbox=sandbox,
        )
        try:
            return child.result()
        except Defect as error:
            raise Defect(f"{error}\nThe log has the traceback: {log}") from error
        except ProcessDied as error:
            raise ProcessDied(f"{error}; its log is {log}") from error


@contextlib.contextmanager
def shown(console: Console) -> Iterator[None]:
    """Show how work in this process goes, as `call` shows a child's."""
    with display_on(console) as display:
        handler = logging.Handler()
        handler.emit = display.show  # type: ignore[method-assign]
        logger = logging.getLogger("gauntlet")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
