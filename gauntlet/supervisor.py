"""Has a child process do the work and shows its progress: one line a node, with time and a bar."""

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from foundation.environment import overruled
from foundation.errors import Defect, ProcessDied
from foundation.events import Fields, State, fields_of
from foundation.process import Child
from foundation.sandbox import Sandbox

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
        console.print(
            f"[yellow]Note:[/] {escape(', '.join(ignored))} of the shell is not used: results do "
            "not depend on it", highlight=False, soft_wrap=True,
        )  # fmt: skip
    with NodeDisplay(console) as display, open(log, "a") as output, _room(sandbox) as room:
        child = Child(
            function,
            request,
            name="the process that did the work",
            environment=ENVIRONMENT | room.environment,
            output=output,
            on_record=display.show,
            sandbox=room.sandbox,
        )
        try:
            return child.result()
        except Defect as error:
            raise Defect(f"{error}\nThe log has the traceback: {log}") from error
        except ProcessDied as error:
            raise ProcessDied(f"{error}; its log is {log}") from error


@dataclass(frozen=True)
class Room:
    """Where a child may write. environment: what names its folder of temporary files."""

    sandbox: Sandbox | None
    environment: dict[str, str]


@contextlib.contextmanager
def _room(sandbox: Sandbox | None) -> Iterator[Room]:
    """The same, with a folder of temporary files for a child that is confined."""
    if sandbox is None:
        yield Room(None, {})
        return
    with tempfile.TemporaryDirectory(prefix="gauntlet-confined-") as folder:
        yield Room(Sandbox((*sandbox.writable, Path(folder))), {"TMPDIR": folder})


@contextlib.contextmanager
def shown(console: Console) -> Iterator[None]:
    """Show how work in this process goes, as `call` shows a child's."""
    with NodeDisplay(console) as display:
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


class NodeDisplay:
    """One line a node: live on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<24}"),
            BarColumn(
                24, complete_style="cyan", pulse_style="cyan"
            ),  # nothing red while all is well
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not self._live,
        )
        self._tasks: dict[str, TaskID] = {}
        self._current: list[str] = []

    def __enter__(self) -> "NodeDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, record: logging.LogRecord) -> None:
        """Draw what one log record of the child tells."""
        fields, message = fields_of(record), escape(record.getMessage())
        node, state = fields.get("node"), fields.get("state")
        if node and state == "started":
            self._tasks[node] = self._progress.add_task(node, total=None, note="")
            self._current.append(node)
        elif node and state:
            self._finish(node, state, fields["seconds"])
        elif fields.get("stays"):
            self._console.print(message, highlight=False, soft_wrap=True)
        elif self._current:
            self._update(self._tasks[self._current[-1]], message, fields)

    def _finish(self, node: str, state: State, seconds: float) -> None:
        self._current.remove(node)
        task = self._tasks[node]
        if state == "failed":
            self._progress.update(task, note="[red]failed")
            self._progress.stop_task(task)
        else:
            note = "[dim]cached" if state == "cached" else "[green]done"
            self._progress.update(task, total=1, completed=1, note=note)
        if not self._live:
            self._console.print(f"{node:<24} {state:<9} {seconds:7.1f} s", highlight=False)

    def _update(self, task: TaskID, message: str, fields: Fields) -> None:
        if "progress" in fields:
            done, total = fields["progress"]
            self._progress.update(task, completed=done, total=total or None)
        if "advance" in fields:
            self._progress.advance(task, fields["advance"])
            completed = self._progress.tasks[task].completed if self._live else 0
            message += f" {completed:,.0f} images"
        if message:
            self._progress.update(task, note=f"[dim]{message}")
