"""The command line where no pipeline needs to run: help, mistakes, roots, and how the child
reports."""

import io
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from filelock import FileLock
from rich.console import Console

from foundation.errors import ConfigError, DataError, RunError
from gauntlet import cli, supervisor
from gauntlet.child import describe
from gauntlet.run import check_writable, writable_root
from gauntlet.supervisor import call
from gauntlet.tables import accuracy_table, print_summary
from pipeline.definition.presets import PRESETS


def run(*arguments: str) -> Any:
    return CliRunner().invoke(cli.main, list(arguments))


def test_help_answers_in_a_second_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from gauntlet.cli import main\ntry: main(['--help'])\nexcept SystemExit: "
        "pass\nprint([m for m in ('tensorflow', 'tfx', 'numpy', 'pydantic', 'rich') if m in "
        "sys.modules])"
    )
    seconds = []
    for _ in range(3):
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        seconds.append(time.monotonic() - begin)
    assert done.stdout.strip().endswith("[]")
    assert min(seconds) < 1.0


@pytest.mark.parametrize("command", list(cli.main.commands))
def test_every_command_and_option_explains_itself(command: str) -> None:
    assert run(command, "--help").exit_code == 0
    for parameter in cli.main.commands[command].params:
        if isinstance(parameter, click.Option):
            explained = parameter.help or isinstance(parameter.type, click.Choice)
            assert explained, f"{command} {parameter.opts} has no help"


@pytest.mark.parametrize("name", PRESETS)
def test_help_names_every_preset(name: str) -> None:
    assert f"{name} (" in " ".join(run("run", "--help").output.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["run", "--preset", "tutorail"],
            "unknown preset 'tutorail'; the presets are robust, record, fashion, tutorial, smoke",
        ),
        (["run", "--set", "trainer.epoch=2"], "unknown setting 'trainer.epoch': did you mean trainer.epochs? The"),
        (["run", "--set", "trainer.strategy=x"], "should be 'auto', 'one_device'"),
        (["run", "--set", "attack.names=cw"], "should be 'fgsm', 'pgd', 'pgd-margin'"),
        (["run", "--set", "attack.names=pgd,pgd"], "each attack is named once, got pgd, pgd"),
        (["run", "--set", "attack.suite=slow"], "should be 'fast' or 'autoattack'"),
        (["run", "--orchestrator", "airflow"], "'airflow' is not one of 'local', 'beam'"),
        (["compile", "--target", "vertex", "--image", "i"], "Missing option '--output'"),
        (
            ["compile", "--target", "argo", "--image", "i", "--output", "o"],
            "'argo' is not one of 'vertex', 'kfp-v2'",
        ),
        (["cmopile"], "No such command 'cmopile'"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    root = ["--root", str(tmp_path / "root")] if arguments[0] == "run" else []
    result = run(*arguments, *root)
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "root").exists(), "a mistake must leave nothing behind"


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
    result = run(
        "compile",
        "--target",
        "vertex",
        "--image",
        "i",
        "--output",
        str(tmp_path / "no" / "out.json"),
    )
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_a_json_file_that_cannot_be_written(tmp_path: Path) -> None:
    result = run(
        "run",
        "--preset",
        "smoke",
        "--root",
        str(tmp_path / "r"),
        "--json",
        str(tmp_path / "no" / "s.json"),
    )
    assert result.exit_code == 1
    assert "cannot write" in result.output


def test_checking_a_file_leaves_it_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("text")
    check_writable(tmp_path / "kept")
    check_writable(tmp_path / "new")
    writable_root(str(tmp_path / "root"))
    assert (tmp_path / "kept").read_text() == "text"
    assert sorted(os.listdir(tmp_path)) == ["kept", "root"]
    assert os.listdir(tmp_path / "root") == []


def test_two_runs_on_one_root(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"):
        result = run("run", "--preset", "smoke", "--root", str(tmp_path))
    assert result.exit_code == 1
    assert (
        f"another run is under way in {tmp_path}; wait for it, or give this one another --root"
        in result.output
    )


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
    monkeypatch.setitem(supervisor.ENVIRONMENT, "PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(error, match=message):
        call("test_cli:task", {"kind": kind}, tmp_path / "log", Console(quiet=True))


def test_unexpected_errors_are_described_by_their_last_line() -> None:
    assert describe(
        RuntimeError("Traceback\n  File x\nValueError: deep [while running 'Attack']\n")
    ) == ("RuntimeError: ValueError: deep [while running 'Attack']")
    assert describe(KeyError()) == "KeyError: no message"


def judged(
    name: str,
    value: float | None,
    bound: float,
    passed: bool,
    interval: Any = None,
    change: Any = None,
    ids: Any = (),
) -> dict[str, Any]:
    """A gate as summaries hold it."""
    return {
        "name": name, "value": value, "judged": value, "bound": bound, "op": ">=", "passed": passed,
        "interval": interval,
        "images_to_change": change, "ids": list(ids), "sentence": "What [was] found.",
    }  # fmt: skip


def example_summary(pushed: str | None) -> dict[str, Any]:
    undefended = {
        "clean": 0.99,
        "transfer": {"fgsm": 0.95, "strongest": 0.85},
        "white_box": {"fgsm": 0.5, "apgd-t": 0.4, "square": 0.35},
        "worst_case": 0.3,
        "certified": None,
        "certified_by": {},
    }
    robust = undefended | {
        "worst_case": 0.32,
        "certified": 0.25,
        "certified_by": {"ibp": 0.1, "crown": 0.25},
    }
    return {
        "run_id": "r", "seed": 0, "suite": "fast",
        "attacks": {
            "fgsm": {"steps": 1, "restarts": 1},
            "apgd-t": {"steps": 50, "restarts": 2},
            "square": {"steps": 200, "restarts": 1},
        },
        "seconds": 12.3, "caveats": ["Weak."], "threat": {"norm": "linf", "epsilon": 0.2},
        "examples": {"test": 10_000}, "models": {"undefended": undefended, "robust": robust},
        "blessed": bool(pushed), "pushed": pushed, "nodes": {"Pusher": {"seconds": 1.0, "cached": True}},
        "serving_problems": [] if pushed else ["signature [x] is missing"],
        "gates": [
            judged("clean", 0.99, 0.98, True, (0.985, 0.995)),
            judged("worst_case", None, 0.9, bool(pushed)),
            judged("certified", 0.25, 0.26, bool(pushed), (0.24, 0.26), 130, [f"image-{i}" for i in range(7)]),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("pushed", ["/serving/[1]/17", None])
def test_the_tables_say_what_the_summary_says(pushed: str | None) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    print_summary(example_summary(pushed), Path("/data/[x]/runs/r"), console)
    text = console.export_text()
    for part in (
        "10,000 test images",
        "99.00%",
        "95.00%",
        "did not run",
        "Weak.",
        "1 of 1 nodes",
        "/data/[x]/runs/r",
    ):
        assert part in text
    if pushed:
        assert f"Pushed to {pushed}" in text
        return
    assert "Refused by worst_case, certified, the serving check; nothing was pushed" in text
    assert "serving check: signature [x] is missing" in text
    assert "certified: What [was] found." in text
    assert "130 more images would have to be answered rightly" in text
    assert (
        "image-0, image-1, image-2, image-3, image-4 and 2 more in /data/[x]/runs/r/summary.json"
        in text
    )
    assert "24.00% to 26.00%" in text


def test_the_accuracy_table_has_every_attack_with_its_effort_and_what_is_proven() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(accuracy_table(example_summary(None)))
    cells = [
        [cell.strip() for cell in line.split("│")[1:-1]]
        for line in console.export_text().splitlines()
    ]
    assert [row for row in cells if len(row) == 3] == [
        ["clean", "99.00%", "99.00%"],
        ["fgsm image made against the other model", "95.00%", "95.00%"],
        ["strongest image made against the other model", "85.00%", "85.00%"],
        ["left by fgsm", "50.00%", "50.00%"],
        ["left by apgd-t, 50 steps x 2", "40.00%", "40.00%"],
        ["left by square, 200 steps", "35.00%", "35.00%"],
        ["worst case over all of these", "30.00%", "32.00%"],
        ["certified", "-", "25.00%"],
    ]


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
