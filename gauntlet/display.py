"""How work goes, by the log records of whoever does it: bars on a terminal, lines elsewhere, JSON
or nothing where the user wants that."""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Literal

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
from rich.table import Column

from foundation.events import Fields, State, fields_of
from gauntlet.loudness import Line, Loudness
from gauntlet.voice import loudness_of

SECONDS_BETWEEN_LINES = 60.0
"""Time after which a node that is under way is told of again."""

WIDE = 100
"""Columns of a terminal from which on a bar has its full length."""

SECONDS_BETWEEN_COUNTS = 10.0
"""Time between two lines of JSON that only count."""


@dataclass
class Node:
    """A node that is under way: what it said last, and how far it is.

    done, total: of the images, or what `unit` says, or without a unit of the steps; total is 0
    where nobody knows. since: when the counting began, and where.
    """

    name: str
    begin: float = field(default_factory=time.monotonic)
    message: str = ""
    unit: str = ""
    done: int = 0
    total: int = 0
    since: tuple[float, int] | None = None

    def hear(self, message: str, fields: Fields) -> None:
        """Take what a record tells."""
        self.message = message or self.message
        if "progress" in fields:
            self._count(*fields["progress"], unit="")
        elif "advance" in fields:
            unit = fields.get("unit", "images")
            before = self.done if unit == self.unit else 0
            self._count(before + fields["advance"], fields.get("total", 0), unit)

    def _count(self, done: int, total: int, unit: str) -> None:
        if self.since is None or (unit, total) != (self.unit, self.total) or done < self.done:
            self.since = time.monotonic(), done
        self.done, self.total, self.unit = done, total, unit

    @property
    def seconds(self) -> float:
        """Time since it began."""
        return time.monotonic() - self.begin

    @property
    def seconds_left(self) -> float | None:
        """Time that it will take to count the rest as fast as before; None where nobody knows."""
        if not self.total or self.since is None or self.done <= self.since[1]:
            return None
        begin, first = self.since
        each = (time.monotonic() - begin) / (self.done - first)
        return each * (self.total - self.done)

    @property
    def counted(self) -> str:
        """How many images, or what `unit` says; '' where only steps are counted."""
        of = f" of {self.total:,}" if self.total else ""
        return f"{self.done:,}{of} {self.unit}" if self.unit else ""

    def told(self) -> str:
        """A few words: what it does, how far it is, the time that is left."""
        words = [self.message] if self.message else []
        if self.unit:
            words.append(self.counted)
        elif self.total:
            words.append(f"{self.done / self.total:.0%}")
        left = self.seconds_left
        words.append(f"under way for {duration(self.seconds)}" if left is None else _left(left))
        return ", ".join(words)


def _left(seconds: float) -> str:
    return f"about {duration(seconds)} left"


def duration(seconds: float) -> str:
    """A time for a person, such as 6 min."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


class Display:
    """Keeps account of the nodes, and shows nothing: what `--quiet` wants. A subclass shows how a
    node begins, goes on and ends, and what is said for a person.

    heartbeat: whether a node that is silent is told of again.
    """

    heartbeat = False

    def __init__(self, verbose: bool = False) -> None:
        self._verbose = verbose
        self._nodes: list[Node] = []
        self._told = time.monotonic()
        self._over = threading.Event()
        self._lock = threading.RLock()

    def __enter__(self) -> "Display":
        if self.heartbeat:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with self._lock:
            self._nodes.clear()

    def show(self, record: logging.LogRecord) -> None:
        """Show what one log record tells."""
        fields, message = fields_of(record), record.getMessage()
        name, state = fields.get("node"), fields.get("state")
        with self._lock:
            if name and state == "started":
                self._nodes.append(Node(name))
                self.began(self._nodes[-1])
            elif name and state:
                (node,) = (node for node in self._nodes if node.name == name)
                self._nodes.remove(node)
                self.ended(node, state, fields["seconds"])
            elif fields.get("stays") or (self._verbose and not fields):
                self.said(record, message)
            elif self._nodes:
                self._nodes[-1].hear(message, fields)
                self.moved(self._nodes[-1], record)

    def _beat(self) -> None:
        while not self._over.wait(max(0.0, self._told + SECONDS_BETWEEN_LINES - time.monotonic())):
            with self._lock:
                if time.monotonic() >= self._told + SECONDS_BETWEEN_LINES:
                    self._told = time.monotonic()
                    for node in self._nodes:
                        self.goes_on(node)

    def began(self, node: Node) -> None:
        """A node has started."""

    def goes_on(self, node: Node) -> None:
        """A node was not told of for a while."""

    def moved(self, node: Node, record: logging.LogRecord) -> None:
        """A node has said something."""

    def ended(self, node: Node, state: State, seconds: float) -> None:
        """A node is over."""

    def said(self, record: logging.LogRecord, message: str) -> None:
        """Something was said for a person to read."""


class Lines(Display):
    """Plain lines: for a pipe, a file, or the log of a build."""

    heartbeat = True

    def __init__(self, console: Console, verbose: bool = False) -> None:
        super().__init__(verbose)
        self._console = console

    def began(self, node: Node) -> None:
        self._line(f"{node.name:<24} started")

    def goes_on(self, node: Node) -> None:
        self._line(f"{node.name:<24} {node.told()}")

    def ended(self, node: Node, state: State, seconds: float) -> None:
        self._line(f"{node.name:<24} {state:<9} {seconds:7.1f} s")

    def said(self, record: logging.LogRecord, message: str) -> None:
        self._line(message)

    def _line(self, text: str) -> None:
        self._told = time.monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bars(Display):
    """One line a node on a terminal, with time and a bar."""

    def __init__(self, console: Console, verbose: bool = False) -> None:
        super().__init__(verbose)
        self._console = console
        self._progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description:<24}"),
            BarColumn(
                24 if console.width >= WIDE else 8, complete_style="cyan", pulse_style="cyan"
            ),  # nothing red while all is well
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            # What is left of the line, and no more: a long text must not take it from the others.
            TextColumn(
                "{task.fields[note]}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Display":
        self._progress.start()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._progress.stop()

    def began(self, node: Node) -> None:
        self._tasks[node.name] = self._progress.add_task(node.name, total=None, note="")

    def moved(self, node: Node, record: logging.LogRecord) -> None:
        self._progress.update(
            self._tasks[node.name],
            completed=node.done,
            total=node.total or None,
            note=f"[dim]{escape(f'{node.message} {node.counted}'.strip())}",
        )

    def ended(self, node: Node, state: State, seconds: float) -> None:
        task = self._tasks[node.name]
        if state == "failed":
            self._progress.update(task, note="[red]failed")
            self._progress.stop_task(task)
        else:
            note = "[dim]cached" if state == "cached" else "[green]done"
            self._progress.update(task, total=1, completed=1, note=note)

    def said(self, record: logging.LogRecord, message: str) -> None:
        self._console.print(escape(message), highlight=False, soft_wrap=True)


class JsonLines(Display):
    """`--log-json`: one object a line on standard error."""

    heartbeat = True

    def __init__(self) -> None:
        super().__init__(verbose=True)
        self._counted = 0.0

    def began(self, node: Node) -> None:
        self._write(node, "info", f"{node.name} started", "started")

    def goes_on(self, node: Node) -> None:
        self._write(node, "info", node.told(), "running", node.seconds)

    def moved(self, node: Node, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._counted + SECONDS_BETWEEN_COUNTS or node.done == node.total:
            self._counted = time.monotonic()
            self.goes_on(node)

    def ended(self, node: Node, state: State, seconds: float) -> None:
        self._write(node, "info", f"{node.name} {state} after {seconds:.1f} s", state, seconds)

    def said(self, record: logging.LogRecord, message: str) -> None:
        name = self._nodes[-1].name if self._nodes else None
        Line(level=record.levelname.lower(), message=message, node=name).write()

    def _write(
        self,
        node: Node,
        level: str,
        message: str,
        state: State | Literal["running"],
        seconds: float | None = None,
    ) -> None:
        self._told = time.monotonic()
        left = node.seconds_left if state == "running" else None
        Line(
            level=level,
            message=message,
            node=node.name,
            state=state,
            seconds=None if seconds is None else round(seconds, 1),
            done=node.done if node.since else None,
            total=node.total or None,
            seconds_left=None if left is None else round(left),
        ).write()


def display_on(console: Console) -> Display:
    """What shows the work of a command that prints on this console."""
    loudness = loudness_of(console)
    if loudness is Loudness.QUIET:
        return Display()
    if loudness is Loudness.LOG_JSON:
        return JsonLines()
    kind = Bars if console.is_terminal else Lines
    return kind(console, verbose=loudness is Loudness.VERBOSE)
