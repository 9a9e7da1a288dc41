"""`gauntlet run`: what it says of a run that was killed, and what its options set."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import gauntlet.supervisor
from foundation.errors import ProcessDied, RunError
from gauntlet.cli import main
from pipeline.local.job import Job


def test_after_a_kill_the_next_step_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise ProcessDied("it ended with signal 9; its log is log")

    monkeypatch.setattr(gauntlet.supervisor, "call", killed)
    done = CliRunner().invoke(main, ["run", "--preset", "smoke", "--root", str(tmp_path)])
    assert done.exit_code == 1
    assert "its log is log. Run the same command again: finished nodes are not repeated" in (
        " ".join(done.output.split())
    )


@pytest.mark.parametrize("options", [[], ["--accept-classes"]])
def test_other_classes_are_accepted_by_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    jobs: list[Job] = []

    def begun(function: str, job: Job, *_: Any) -> None:
        jobs.append(job)
        raise RunError("enough")

    monkeypatch.setattr(gauntlet.supervisor, "call", begun)
    CliRunner().invoke(main, ["run", "--root", str(tmp_path), *options])
    assert [job.config.data.accept_classes for job in jobs] == [bool(options)]
