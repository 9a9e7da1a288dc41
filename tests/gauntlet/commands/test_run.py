"""`gauntlet run`: what it says of a run that was killed, and what its options set."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pushed_versions import push

import gauntlet.supervisor
from components.binding import Mandate, bind, write_terms
from components.versions import Card
from foundation.errors import ProcessDied, RunError
from gauntlet.cli import main
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.definition.terms import terms_of
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
        (["--preset", "fashion"], "the data set is fashion_mnist, and was mnist"),
        (["--preset", "tutorial", "--set", "threat.epsilon=0.01"], "epsilon is 0.01, and was 0.2"),
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


def test_another_purpose_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(tmp_path)
    reason = ("--replace", "--reason", "clothes now")
    done, (job,) = ended(tmp_path, monkeypatch, "--preset", "fashion", *reason)
    assert "Note: the purpose is replaced: the data set is fashion_mnist" in (
        " ".join(done.output.split())
    )
    assert (job.mandate.replace, job.mandate.reason) == (True, "clothes now")
    assert job.mandate.by
    assert job.config.data.accept_classes


def test_a_weaker_policy_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(tmp_path)
    lowered = ("--set", "gates.worst_case=0.5", "--set", "gates.certified=0")
    done, jobs = ended(tmp_path, monkeypatch, *lowered, "--force", "--reason", "an emergency")
    assert [(job.mandate.force, job.mandate.reason) for job in jobs] == [(True, "an emergency")]
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
        (["--preset", "fashion"], "reviewed.toml is for another purpose: the data set is fashion"),
        (["--set", "gates.clean=0.5"], "decides what --set gates.clean=0.5 sets"),
        (["--set", " threat.epsilon=0.5"], "threat.epsilon=0.5 sets"),
    ):
        done, jobs = ended(root, monkeypatch, "--gates", str(file), *arguments)
        assert (done.exit_code, jobs) == (2, [])
        assert words in " ".join(done.output.split())
    file.write_text("clean = 1")
    done, _ = ended(root, monkeypatch, "--gates", str(file))
    assert done.exit_code == 2
    assert f"{file} cannot be read" in done.output.replace("\n", "")
