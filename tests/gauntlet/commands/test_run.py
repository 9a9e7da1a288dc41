"""`gauntlet run`: what it says of a run that was killed, and what its options set."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from pushed_versions import push

import gauntlet.supervisor
from components.versions import Card
from foundation import whole
from foundation.errors import ProcessDied, RunError
from gauntlet.cli import main
from pipeline.local.job import Job
from pipeline.report.run_summary import Outcome


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


RUN = ["run", "--preset", "smoke", "--root"]


def ended(monkeypatch: pytest.MonkeyPatch, outcome: Outcome) -> None:
    """The child gives this answer."""
    monkeypatch.setattr(gauntlet.supervisor, "call", lambda *_: outcome)


@pytest.mark.parametrize(
    ("pushed", "code", "told"),
    [
        ("/r/serving/7", 0, "Warning: version 7 is served: /r/serving/7\n  summary.json failed"),
        (None, 3, "Warning: nothing was pushed\n  summary.json failed"),
    ],
)
def test_what_fails_after_the_push_is_a_warning(
    pushed: str | None, code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = Outcome(pushed=pushed)
    with outcome.noting("summary.json"):
        raise OSError(28, "No space left on device")
    ended(monkeypatch, outcome)
    done = CliRunner().invoke(main, [*RUN, str(tmp_path), "--json", str(tmp_path / "s.json")])
    assert done.exit_code == code
    assert f"{told}: [Errno 28] No space left on device" in done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["pushed"] == pushed


@pytest.mark.parametrize(("pushed", "code"), [("/r/serving/7", 0), (None, 3)])
def test_json_and_table_that_fail_do_not_change_the_exit_code(
    pushed: str | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary: Any = SimpleNamespace(to_json=lambda: "{}")
    ended(monkeypatch, Outcome(pushed=pushed, summary=summary))
    table = importlib.import_module("gauntlet.tables.run")
    monkeypatch.setattr(table, "print_summary", lambda *_: sys.exit(1))  # so rich ends: no reader
    file = tmp_path / "folder" / "s.json"
    file.parent.mkdir()
    monkeypatch.setattr(whole, "write_whole", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    done = CliRunner().invoke(main, [*RUN, str(tmp_path), "--json", str(file)])
    assert done.exit_code == code
    assert "the table failed: 1\n" in done.stderr
    assert f"--json {file} failed: [Errno 28] full" in done.stderr


@pytest.mark.parametrize("error", [ProcessDied("it ended with code -9"), RunError("disk full")])
def test_a_run_that_ends_after_its_push_says_what_is_served(
    error: RunError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: str, job: Job, *__: Any) -> None:
        push(tmp_path, "7", Card(model="m", run_id=job.run_id))
        raise error

    monkeypatch.setattr(gauntlet.supervisor, "call", killed)
    done = CliRunner().invoke(main, [*RUN, str(tmp_path)])
    assert done.exit_code == 0
    assert f"Warning: version 7 is served: {tmp_path / 'serving' / '7'}" in done.stderr
    assert str(error) in done.stderr


def test_a_kill_before_the_push_is_a_failure_whatever_was_served_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push(tmp_path, "7")

    def killed(*_: Any) -> None:
        raise ProcessDied("it ended with code -9")

    monkeypatch.setattr(gauntlet.supervisor, "call", killed)
    assert CliRunner().invoke(main, [*RUN, str(tmp_path)]).exit_code == 1


def test_json_into_a_pipe_is_json_alone() -> None:
    """`gauntlet gates --json /dev/stdout | jq .`: the table goes to standard error."""
    program = "from gauntlet.cli import main; main()"
    command = [sys.executable, "-c", program, "gates", "--json", "/dev/stdout"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert {gate["name"] for gate in json.loads(done.stdout)} >= {"clean", "worst_case"}
    assert b"worst_case" in done.stderr
