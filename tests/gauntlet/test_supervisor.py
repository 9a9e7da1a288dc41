"""How the child ends."""

import io
import logging
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from foundation.errors import ConfigError, DataError, RunError
from foundation.events import Fields, phase
from gauntlet.supervisor import call, shown


def task(kind: str) -> None:
    """What the child runs in the tests below."""
    if kind == "config":
        raise ConfigError("the setting")
    if kind == "data":
        raise DataError("the [bracketed] data")
    if kind == "defect":
        raise ValueError("first line\nwhat really happened")
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("config", ConfigError, "^the setting$"),
        ("data", DataError, r"^the \[bracketed\] data$"),
        ("defect", RunError, r"ValueError: what really happened\nThe log has the traceback: .*log"),
        (
            "killed",
            RunError,
            r"ended with signal 9 \(killed, or perhaps out of memory\); its log is .*log$",
        ),
    ],
)
def test_how_the_child_ends_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, error: type[Exception], message: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    with pytest.raises(error, match=message):
        call("test_supervisor:task", kind, tmp_path / "log", Console(quiet=True))


def test_work_in_this_process_is_shown_too() -> None:
    """And only while it goes on."""
    logger, output = logging.getLogger("gauntlet"), io.StringIO()
    before = (list(logger.handlers), logger.level)
    with shown(Console(file=output)), phase("images"):
        logger.info("3 [cats]", extra=Fields(stays=True))
    logger.info("later", extra=Fields(stays=True))
    assert output.getvalue().startswith(
        "images                   started\n3 [cats]\nimages                   finished"
    )
    assert "later" not in output.getvalue()
    assert (list(logger.handlers), logger.level) == before
