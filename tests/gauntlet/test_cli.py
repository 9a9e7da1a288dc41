"""The command line where no pipeline needs to run: help, its speed, and mistakes."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from filelock import FileLock

from gauntlet import cli
from pipeline.definition.presets import PRESETS
from robustness.config import AttackName

COMPILE = ("compile", "--target", "vertex", "--output", "OUTPUT")


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, list(arguments))


def imported(arguments: list[str], names: tuple[str, ...]) -> tuple[list[str], float]:
    """Which modules the command line imports in a fresh process, and its seconds."""
    code = (
        f"import sys; from gauntlet.cli import main\ntry: main({arguments})\nexcept SystemExit: "
        f"pass\nprint(*[m for m in {names} if m in sys.modules])"
    )
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split(), time.monotonic() - begin


def test_help_answers_in_a_second_and_imports_nothing_heavy() -> None:
    names = ("tensorflow", "tfx", "numpy", "pydantic", "rich", *map("gauntlet.commands.{}".format, cli.COMMANDS))  # fmt: skip # noqa: E501
    modules, seconds = zip(*(imported(["--help"], names) for _ in range(3)), strict=True)
    assert modules == ([], [], [])
    assert min(seconds) < 1.0


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_imports_no_library_of_its_work(command: str) -> None:
    names = ("tensorflow", "tfx", "apache_beam", "ml_metadata", "scipy", "numpy", "rich")
    assert imported([command, "--help"], names)[0] == []


@pytest.mark.parametrize(
    "command",
    [
        *("check", "evaluate", "models", "runs", "show", "compare", "rollback", "bless"),
        *("predict", "clean"),
    ],
)
def test_help_of_a_command_without_settings_answers_without_pydantic(command: str) -> None:
    assert imported([command, "--help"], ("pydantic",))[0] == []


def test_commands_are_listed_by_use_in_whole_lines() -> None:
    *_, listed = run("--help").output.partition("Exit codes")[0].partition("Commands:\n")
    lines = [line.split(maxsplit=1) for line in listed.strip().splitlines()]
    by_use = (
        "run check evaluate gates init config runs show compare models rollback bless predict "
        "clean prepare image compile submit deploy completion"
    )
    assert " ".join(name for name, _ in lines) == by_use
    assert all(len(line) < 55 and line.endswith(".") for _, line in lines)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_and_option_explains_itself(name: str) -> None:
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command
    assert command.name == name
    assert run(name, "--help").exit_code == 0
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"


@pytest.mark.parametrize("name", PRESETS)
def test_help_names_every_preset(name: str) -> None:
    shown = " ".join(run("run", "--help").output.split())
    assert f"{name} (" in shown
    assert "smoke (The tutorial on few images, for tests and first looks" in shown


def test_help_names_every_attack_and_choice() -> None:
    shown = " ".join(run("evaluate", "--help").output.split()).replace("- ", "-")
    assert f"in this order: {', '.join(AttackName)}." in shown
    assert "--suite [fast|autoattack]" in shown
    assert "--norm [linf|l2]" in shown
    assert "Default: 0.2 (linf), 2.0 (l2)." in shown
    assert "or a folder of images" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--preset", "tutorail"],
            "unknown preset 'tutorail'; the presets are robust, record, fashion, tutorial, smoke",
        ),
        (
            ["run", "--set", "trainer.epoch=2"],
            "unknown setting 'trainer.epoch': did you mean trainer.epochs? `gauntlet config` lists",
        ),
        (["run", "--set", "trainer.strategy=x"], "expected 'auto', 'one_device'"),
        (
            ["run", "--set", "attack.names=cw"],
            "unknown attack 'cw'; the attacks are fgsm, pgd, pgd-margin, ",
        ),
        (["run", "--set", "attack.names=pgd,pgd"], "each attack is named once, got pgd, pgd"),
        (["run", "--set", "attack.suite=slow"], "expected 'fast' or 'autoattack'"),
        (["run", "--orchestrator", "airflow"], "'airflow' is not one of 'local', 'beam'"),
        ([*COMPILE, "--image", "i", "--pipeline-root", ""], "--pipeline-root is empty"),
        ([*COMPILE, "--image", " ", "--pipeline-root", "gs://b"], "--image is empty"),
        ([*COMPILE, "--image", "i", "--pipeline-root", "b"], "is an address such as gs://BUCKET"),
        (
            [*COMPILE, "--image", "i", "--pipeline-root", "gs://b", "--set", "data.span=3"],
            "LastSpan: data.span of a data set that is fetched: a named data set has no spans",
        ),
        (["compile", "--target", "vertex", "--image", "i"], "Missing option '--output'"),
        (
            ["compile", "--target", "vertex", "--image", "i", "--output", "OUTPUT"],
            "Missing option '--pipeline-root'",
        ),
        (
            ["compile", "--target", "argo", "--image", "i", "--output", "o"],
            "'argo' is not one of 'vertex', 'kfp-v2'",
        ),
        (["cmopile"], "No such command 'cmopile'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    root = ["--root", str(tmp_path / "root")] if arguments[0] == "run" else []
    arguments = [str(tmp_path / "o") if text == "OUTPUT" else text for text in arguments]
    result = run(*arguments, *root)
    assert result.exit_code == 2
    assert message in result.output
    assert not list(tmp_path.iterdir()), "a mistake must leave nothing behind"


def test_a_mistyped_command_is_recognised() -> None:
    assert "compile" in run("cmopile").output.replace("cmopile", "")


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("run", "--preset", "smoke", "--root", str(tmp_path / "file" / "root"))
    assert result.exit_code == 1
    assert "cannot write to the root" in result.output
    assert "Not a directory" in result.output


@pytest.mark.parametrize("option", ["--root", "--data-dir"])
def test_addresses_are_no_local_folders(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("run", "--preset", "smoke", option, "gs://bucket/folder")
    assert result.exit_code == 2
    assert "expected a local folder, got gs://bucket/folder" in result.output
    assert not (tmp_path / "gs:").exists()


def test_compiling_into_a_folder_that_is_not_there(tmp_path: Path) -> None:
    output = str(tmp_path / "no" / "out.json")
    required = ("--target", "vertex", "--image", "i", "--pipeline-root", "gs://b/f")
    result = run("compile", *required, "--output", output)
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_a_json_file_that_cannot_be_written(tmp_path: Path) -> None:
    file = str(tmp_path / "no" / "s.json")
    result = run("run", "--preset", "smoke", "--root", str(tmp_path / "r"), "--json", file)
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_two_runs_on_one_root(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"):
        result = run("run", "--preset", "smoke", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert (
        f"another run is under way in {tmp_path} (another process); wait for it, or give this one "
        "another --root" in result.output
    )


@pytest.mark.parametrize(
    "name",
    [
        *("run", "check", "evaluate", "models", "rollback", "bless", "predict", "clean"),
        *("prepare", "compile", "submit", "deploy"),
    ],
)
def test_who_takes_a_while_is_as_loud_as_one_wants(name: str) -> None:
    text = run(name, "--help").output
    assert all(option in text for option in ("--quiet", "--verbose", "--log-json"))
