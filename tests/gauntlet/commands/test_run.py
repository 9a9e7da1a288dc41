"""`gauntlet run`: what it says of a run that was killed."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import gauntlet.supervisor
from foundation.errors import ProcessDied
from gauntlet.cli import main


def test_after_a_kill_the_next_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise ProcessDied("it ended with code -9; its log is log")

    monkeypatch.setattr(gauntlet.supervisor, "call", killed)
    done = CliRunner().invoke(main, ["run", "--preset", "smoke", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "its log is log. Run the same command again: finished nodes are not repeated" in (
        " ".join(done.output.split())
    )
