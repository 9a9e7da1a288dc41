"""How the child ends, and how its progress is shown."""

import io
import itertools
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from foundation.errors import ConfigError, DataError, RunError
from gauntlet import supervisor
from gauntlet.child import describe
from gauntlet.supervisor import call


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
        ("data", RunError, r"^the \[bracketed\] data$"),
        ("defect", RunError, r"ValueError: what really happened\nThe log has the traceback: .*log"),
        (
            "killed",
            RunError,
            r"ended with code -9 \(killed, or out of memory\); its log is .*log\. Run the same",
        ),
    ],
)
def test_how_the_child_ends_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, error: type[Exception], message: str
) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setitem(supervisor.ENVIRONMENT, "PYTHONPATH", path)
    with pytest.raises(error, match=message):
        call("test_supervisor:task", kind, tmp_path / "log", Console(quiet=True))


def test_unexpected_errors_are_described_by_their_last_line() -> None:
    assert describe(
        RuntimeError("Traceback\n  File x\nValueError: deep [while running 'Attack']\n")
    ) == ("RuntimeError: ValueError: deep [while running 'Attack']")
    assert describe(KeyError()) == "KeyError: no message"


def test_progress_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    display = supervisor.NodeDisplay(Console(force_terminal=False, width=100))
    events = [
        {"message": "", "node": "Trainer.robust", "state": "started"},
        {"message": "training", "progress": [5, 10]},
        {"message": "attacking", "advance": 500},
        {"message": "", "node": "Trainer.robust", "state": "cached", "seconds": 1.5},
        {"message": "", "node": "Evaluator", "state": "started"},
        {"message": "", "node": "Evaluator", "state": "failed", "seconds": 2.0},
    ]
    with display:
        for event in events:
            display.show(json.loads(json.dumps(event)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["Trainer.robust", "cached", "1.5", "s"], ["Evaluator", "failed", "2.0", "s"]]


def test_progress_bars_on_a_terminal() -> None:
    console = Console(force_terminal=True, width=120, record=True, file=io.StringIO())
    with supervisor.NodeDisplay(console) as display:
        display.show({"message": "", "node": "Trainer.robust", "state": "started"})
        for done in itertools.chain(range(0, 100, 10), [100]):
            display.show({"message": "training", "progress": [done, 100]})
        display.show({"message": "", "node": "Trainer.robust", "state": "finished", "seconds": 1.5})
    assert "Trainer.robust" in console.export_text()
