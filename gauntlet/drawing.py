"""Draws what this process logs of nodes, where no child does the work (see `supervisor`)."""

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape

from gauntlet.supervisor import NodeDisplay


@contextlib.contextmanager
def drawn(console: Console) -> Iterator[None]:
    """One line a node, as `supervisor.call` draws it, and a line a warning."""
    logger = logging.getLogger("gauntlet")
    level, propagate = logger.level, logger.propagate
    with NodeDisplay(console) as display:
        handler = _Drawer(display, console)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


class _Drawer(logging.Handler):
    def __init__(self, display: NodeDisplay, console: Console) -> None:
        super().__init__()
        self._display, self._console = display, console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            self._display.show(record)
        else:
            text = escape(record.getMessage())
            self._console.print(f"[yellow]Note:[/] {text}", highlight=False, soft_wrap=True)
