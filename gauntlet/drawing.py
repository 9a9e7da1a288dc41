"""Draws what this process logs of nodes, where no child does the work (see `display`)."""

import contextlib
import logging
from collections.abc import Iterator

from rich.console import Console

from gauntlet.display import Display, display_on
from gauntlet.voice import note


@contextlib.contextmanager
def drawn(console: Console) -> Iterator[None]:
    """One line a node, as `display` draws it, and a line a warning."""
    logger = logging.getLogger("gauntlet")
    level, propagate = logger.level, logger.propagate
    with display_on(console) as display:
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
    def __init__(self, display: Display, console: Console) -> None:
        super().__init__()
        self._display, self._console = display, console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING:
            self._display.show(record)
        else:
            note(self._console, record.getMessage())
