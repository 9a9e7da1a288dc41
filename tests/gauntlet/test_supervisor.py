"""How the child ends, and how its progress is shown."""

import io
import itertools
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from foundation.errors import ConfigError, DataError, RunError
from foundation.events import Fields, phase
from gauntlet import supervisor
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


def record(message: str = "", **fields: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message} | fields)


def test_progress_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        record(node="Trainer.robust", state="started"),
        record("training", progress=(5, 10)),
        record("attacking", advance=500),
        record(node="Trainer.robust", state="cached", seconds=1.5),
        record(node="Evaluator", state="started"),
        record(node="Evaluator", state="failed", seconds=2.0),
    ]
    with supervisor.NodeDisplay(Console(force_terminal=False, width=100)) as display:
        for each in records:
            display.show(each)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["Trainer.robust", "cached", "1.5", "s"], ["Evaluator", "failed", "2.0", "s"]]


def test_progress_bars_on_a_terminal() -> None:
    console = Console(force_terminal=True, width=120, record=True, file=io.StringIO())
    with supervisor.NodeDisplay(console) as display:
        display.show(record(node="Trainer.robust", state="started"))
        for done in itertools.chain(range(0, 100, 10), [100]):
            display.show(record("training", progress=(done, 100)))
        display.show(record("attacking [1]", advance=1500))
        display.show(record("reading"))
        display.show(record(node="Trainer.robust", state="finished", seconds=1.5))
    assert "Trainer.robust" in console.export_text()


def test_work_in_this_process_is_shown_too() -> None:
    """And only while it goes on."""
    logger, output = logging.getLogger("gauntlet"), io.StringIO()
    before = (list(logger.handlers), logger.level)
    with shown(Console(file=output)), phase("images"):
        logger.info("3 [cats]", extra=Fields(stays=True))
    logger.info("later", extra=Fields(stays=True))
    assert output.getvalue().startswith("3 [cats]\nimages                   finished")
    assert "later" not in output.getvalue()
    assert (list(logger.handlers), logger.level) == before
