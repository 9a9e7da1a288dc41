"""Starts the child process and shows its progress: one line a node, with time and a bar."""

import base64
import contextlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

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

from foundation.errors import ConfigError, RunError

ENVIRONMENT = {
    "TF_USE_LEGACY_KERAS": "1",  # NSL needs Keras 2, decided when TensorFlow is imported
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONSAFEPATH": "1",  # a folder named `trainer` where the user stands must not win over ours
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # else the first node takes the whole card
    "PYTHONUNBUFFERED": "1",
}


def call(function: str, request: Any, log_file: Path, console: Console) -> Any:
    """Run "package.module:function" on a request in a child process, its output in `log_file`, its
    progress on the console.

    Returns:
        What the function returned.

    Raises:
        ConfigError: the child found a setting that cannot be used.
        RunError: the child failed; the message is the child's own, with the log file when it was
            unexpected.
    """
    with NodeDisplay(console) as display, started(function, request, log_file) as (child, events):
        last: dict[str, Any] = {}
        for line in events:
            last = json.loads(line)
            display.show(last)
        child.wait()
    if "result" in last:
        return pickle.loads(base64.b64decode(last["result"]))
    if last.get("kind") == "ConfigError":
        raise ConfigError(last["error"])
    if "error" in last:
        hint = f"\nThe log has the traceback: {log_file}" if last["kind"] == "defect" else ""
        raise RunError(last["error"] + hint)
    raise RunError(
        f"the process that did the work ended with code {child.returncode} (killed, or out of "
        f"memory); its log is {log_file}. Run the same command again: finished nodes are not "
        "repeated"
    )


@contextmanager
def started(
    function: str, request: Any, log_file: Path
) -> Iterator[tuple[subprocess.Popen[bytes], IO[str]]]:
    """The running child and its stream of events; an interrupted parent ends its child."""
    reading, writing = os.pipe()
    with open(log_file, "a") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "gauntlet.child", str(writing), function],
            stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=[writing],
            env=os.environ | ENVIRONMENT,
        )  # fmt: skip
    os.close(writing)
    try:
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died at once; its end is reported below
            child.stdin.write(pickle.dumps(request))
            child.stdin.close()
        with os.fdopen(reading) as events:
            yield child, events
    except BaseException:
        child.terminate()
        child.wait()
        raise


class NodeDisplay:
    """One line a node: live on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = console.is_terminal
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<24}"),
            BarColumn(24),
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

    def show(self, event: dict[str, Any]) -> None:
        """Draw one event of the child."""
        state, node = event.get("state"), event.get("node")
        if state == "started" and node:
            self._tasks[node] = self._progress.add_task(node, total=None, note="")
            self._current.append(node)
        elif state and node:
            self._finish(node, state, event["seconds"])
        elif self._current:
            self._update(self._tasks[self._current[-1]], event)

    def _finish(self, node: str, state: str, seconds: float) -> None:
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

    def _update(self, task: TaskID, event: dict[str, Any]) -> None:
        if "progress" in event:
            done, total = event["progress"]
            self._progress.update(task, completed=done, total=total or None)
        if "advance" in event:
            self._progress.advance(task, event["advance"])
            completed = self._progress.tasks[task].completed if self._live else 0
            self._progress.update(
                task, note=f"[dim]{escape(event.get('message', ''))} {completed:,.0f} images"
            )
        elif event.get("message"):
            self._progress.update(task, note=f"[dim]{escape(event['message'])}")
