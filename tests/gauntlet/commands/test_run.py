"""`gauntlet run`: what it says of a run that was killed, and what its options set."""

import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from pushed_versions import push

import gauntlet.supervisor
from components.bound import bind, write_terms
from components.mandate import Mandate
from components.versions import Card
from foundation import whole
from foundation.errors import ProcessDied, RunError
from foundation.stopping import Stopped
from gauntlet.cli import main
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
from pipeline.local.job import Job
from pipeline.report.run_summary import Outcome


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


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_preset_and_data_are_said_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dry: list[str]
) -> None:
    """Who calls it in the wrong folder does not find out after hours that it was MNIST."""

    def begun(*_: Any) -> None:
        raise RunError("enough")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gauntlet.supervisor, "call", begun)
    call = ["run", "--root", "r", *dry]
    said = f"preset robust, data set mnist, root {tmp_path.resolve() / 'r'}"
    assert CliRunner().invoke(main, call).stdout.endswith(f"{said}\n")
    assert said not in CliRunner().invoke(main, [*call, "--quiet"]).output
    line, *_ = CliRunner().invoke(main, [*call, "--log-json"]).stderr.splitlines()
    assert json.loads(line)["message"].endswith(said)


RUN = ["run", "--preset", "smoke", "--root"]


def answered(monkeypatch: pytest.MonkeyPatch, outcome: Outcome) -> None:
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
    answered(monkeypatch, outcome)
    done = CliRunner().invoke(main, [*RUN, str(tmp_path), "--json", str(tmp_path / "s.json")])
    assert done.exit_code == code
    assert f"{told}: [Errno 28] No space left on device" in done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["pushed"] == pushed


@pytest.mark.parametrize(("pushed", "code"), [("/r/serving/7", 0), (None, 3)])
def test_json_and_table_that_fail_do_not_change_the_exit_code(
    pushed: str | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary: Any = SimpleNamespace(to_json=lambda: "{}")
    answered(monkeypatch, Outcome(pushed=pushed, summary=summary))
    table = importlib.import_module("gauntlet.tables.run")
    monkeypatch.setattr(table, "print_summary", lambda *_: sys.exit(1))  # so rich ends: no reader
    file = tmp_path / "folder" / "s.json"
    file.parent.mkdir()
    monkeypatch.setattr(whole, "write_whole", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    done = CliRunner().invoke(main, [*RUN, str(tmp_path), "--json", str(file)])
    assert done.exit_code == code
    assert "the table failed: 1\n" in done.stderr
    assert f"--json {file} failed: [Errno 28] full" in done.stderr


ENDS = (
    ProcessDied("it ended with code -9"),
    RunError("disk full"),
    Stopped(signal.SIGTERM),
    Stopped(signal.SIGHUP),
    Stopped(),
)


@pytest.mark.parametrize("error", ENDS, ids=str)
def test_a_run_that_ends_after_its_push_says_what_is_served(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: str, job: Job, *__: Any) -> None:
        push(tmp_path, "7", Card(model="m", run_id=job.run_id))
        raise error

    monkeypatch.setattr(gauntlet.supervisor, "call", killed)
    done = CliRunner().invoke(main, [*RUN, str(tmp_path)])
    assert done.exit_code == 0
    assert f"Warning: version 7 is served: {tmp_path / 'serving' / '7'}" in done.stderr
    assert str(error) in done.stderr


def test_a_signal_while_the_table_is_printed_does_not_change_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise Stopped(signal.SIGTERM)

    summary: Any = SimpleNamespace(to_json=lambda: "{}")
    answered(monkeypatch, Outcome(pushed="/r/serving/7", summary=summary))
    monkeypatch.setattr(importlib.import_module("gauntlet.tables.run"), "print_summary", stopped)
    done = CliRunner().invoke(main, [*RUN, str(tmp_path)])
    assert done.exit_code == 0
    assert "version 7 is served: /r/serving/7\n  stopped by SIGTERM" in done.stderr


def test_a_signal_before_the_push_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(gauntlet.supervisor, "call", stopped)
    done = CliRunner().invoke(main, [*RUN, str(tmp_path)])
    assert done.exit_code == 130
    assert "stopped by SIGTERM; run the same command again" in done.stderr


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
    assert {gate["name"] for gate in json.loads(done.stdout)["gates"]} >= {"clean", "worst_case"}
    assert b"worst_case" in done.stderr


def ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[Any, list[Job]]:
    """What the command says, and the jobs that it begins, which end there."""
    jobs: list[Job] = []

    def begun(function: str, job: Job, *_: Any) -> None:
        jobs.append(job)
        raise RunError("enough")

    monkeypatch.setattr(gauntlet.supervisor, "call", begun)
    done = CliRunner().invoke(main, ["run", "--root", str(tmp_path), *arguments])
    return done, jobs


def pushed(root: Path, preset_name: str = "robust", *settings: str) -> None:
    """A version in a root, as a run with a preset pushes it."""
    terms = terms_of(override(preset(preset_name), settings))
    push(root, "1", Card(model="a", terms=terms.plain(), terms_sha256=terms.digest()))
    bind(str(root / "serving"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "fashion"], "the data set is fashion_mnist, not mnist"),
        (["--preset", "tutorial", "--set", "threat.epsilon=0.01"], "epsilon is 0.01, not 0.2"),
        (["--set", "gates.worst_case=0"], "gates.worst_case is 0, which asks for less than 0.93"),
        (["--set", "gates.checks="], "gates.checks is without"),
        (["--preset", "smoke"], "asks for less"),
    ],
)
def test_a_run_that_differs_from_the_terms_of_its_root_stops_before_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    pushed(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done, jobs = ended(tmp_path, monkeypatch, *arguments)
    assert (done.exit_code, jobs) == (2, [])
    assert words in " ".join(done.output.split())
    assert sorted(tmp_path.rglob("*")) == before


def test_a_root_of_smoke_takes_a_stricter_preset_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make run ARGS="--preset smoke"`, and then `make run`."""
    pushed(tmp_path, "smoke")
    done, (job,) = ended(tmp_path, monkeypatch)
    assert done.exit_code == 1
    assert "Note: stricter than" in " ".join(done.output.split())
    assert job.mandate == Mandate()


def test_a_root_has_one_name_whichever_links_lead_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another one the model that somebody went back from would be trained and pushed anew."""
    (tmp_path / "link").symlink_to(tmp_path)
    done, (job,) = ended(tmp_path / "link", monkeypatch)
    assert done.exit_code == 1
    assert job.root.folder == tmp_path


def test_another_purpose_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(tmp_path)
    reason = ("--replace", "--reason", "clothes now")
    done, (job,) = ended(tmp_path, monkeypatch, "--preset", "fashion", *reason)
    assert "Note: the purpose is replaced: the data set is fashion_mnist" in (
        " ".join(done.output.split())
    )
    assert (job.mandate.replace, job.mandate.signature.reason) == (True, "clothes now")
    assert job.mandate.signature.by
    assert job.config.data.accept_classes


def test_a_weaker_policy_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(tmp_path)
    lowered = ("--set", "gates.worst_case=0.5", "--set", "gates.certified=0")
    done, jobs = ended(tmp_path, monkeypatch, *lowered, "--force", "--reason", "an emergency")
    assert [(job.mandate.force, job.mandate.signature.reason) for job in jobs] == [
        (True, "an emergency")
    ]
    assert not jobs[0].config.data.accept_classes
    assert "this run is forced" in " ".join(done.output.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--replace"], "say why, for the card and every later listing: --replace --reason"),
        (["--force", "--reason", "  "], "say why, for the card and every later listing: --force"),
        (["--reason", "x"], "--reason goes with one of --replace"),
    ],
)
def test_no_mandate_without_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    done, jobs = ended(tmp_path, monkeypatch, *options)
    assert (done.exit_code, jobs) == (2, [])
    assert words in " ".join(done.output.split())


def test_a_mandate_without_need_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(tmp_path)
    for option in ("--replace", "--force"):
        done, jobs = ended(tmp_path, monkeypatch, option, "--reason", "just in case")
        assert len(jobs) == 1
        assert f"Note: {option} is not needed" in " ".join(done.output.split())


def test_gates_of_a_reviewed_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "reviewed.toml"
    reviewed = terms_of(override(preset("robust"), ["gates.clean=0.985", "threat.epsilon=0.15"]))
    write_terms(file, reviewed)
    root = tmp_path / "root"
    done, (job,) = ended(root, monkeypatch, "--preset", "tutorial", "--gates", str(file))
    assert done.exit_code == 1
    assert terms_of(job.config) == reviewed
    assert job.config.trainer == preset("tutorial").trainer
    for arguments, words in (
        (
            ["--preset", "fashion"],
            "reviewed.toml is for another purpose: here the data",
        ),
        (["--set", "gates.clean=0.5"], "decides what --set gates.clean=0.5 sets"),
        (["--set", " threat.epsilon=0.5"], "threat.epsilon=0.5 sets"),
    ):
        done, jobs = ended(root, monkeypatch, "--gates", str(file), *arguments)
        assert (done.exit_code, jobs) == (2, [])
        assert words in " ".join(done.output.split())
    settings = tmp_path / "settings.toml"
    settings.write_text("[gates]\nclean = 0.5\n")
    done, (job,) = ended(
        root, monkeypatch, "--config", str(settings), "--gates", str(file), "--preset", "tutorial"
    )
    assert terms_of(job.config) == reviewed
    assert f"gates, whatever {settings} says" in " ".join(done.output.split())
    file.write_text("clean = 1")
    done, _ = ended(root, monkeypatch, "--gates", str(file))
    assert done.exit_code == 2
    assert f"{file} cannot be read" in done.output.replace("\n", "")
