"""`gauntlet run --dry-run` at the command line, and runs that end before they begin."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from foundation.errors import ConfigError
from gauntlet import cli, supervisor
from gauntlet.tables.plan import lines, print_plan, time_of
from pipeline.local.plan import Met, NodeForecast, Plan

PLAN = Plan(
    preset="smoke",
    root="/runs",
    data="mnist 3.0.1 in /data",
    nodes={
        "Champion": NodeForecast(cached=True, why="", seconds=0.1),
        "Trainer.robust": NodeForecast(cached=False, why="seed is 1, was 0", seconds=60.0),
        "Evaluator": NodeForecast(cached=False, why="it never ran [here]", seconds=None),
    },
    disk="needs up to 24 MB of disk in /runs, 1 GB free",
    champion=Met(version="17", clean=0.98, worst_case=0.94, not_compared="the purpose differs"),
    push="/runs/serving",
    above=17,
    notes=[],
    stops="",
)


def planning(monkeypatch: pytest.MonkeyPatch, plan: Plan | Exception) -> list[Any]:
    """What the child is asked to plan, in place of that."""
    asked: list[Any] = []

    def call(function: str, job: Any, *_: object) -> Plan:
        assert function == "pipeline.local.plan:planned"
        asked.append(job)
        if isinstance(plan, Exception):
            raise plan
        return plan

    monkeypatch.setattr(supervisor, "call", call)
    return asked


def dry_run(root: Path, *more: str) -> Any:
    arguments = ["run", "--preset", "smoke", "--root", str(root), "--dry-run", *more]
    return CliRunner().invoke(cli.main, arguments)


def test_the_plan_is_shown_and_no_root_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = planning(monkeypatch, PLAN)
    result = dry_run(tmp_path / "root", "--json", str(tmp_path / "plan.json"))
    assert result.exit_code == 0, result.output
    assert job[0].config.preset == "smoke"
    assert not job[0].anyway
    assert not (tmp_path / "root").exists()
    written = json.loads((tmp_path / "plan.json").read_text())
    assert written["nodes"]["Trainer.robust"] == {
        "cached": False, "why": "seed is 1, was 0", "seconds": 60.0
    }  # fmt: skip
    assert written["champion"]["version"] == "17"


def test_the_table_and_the_lines() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    print_plan(PLAN, console)
    text = console.export_text()
    assert "it never ran [here]" in text
    assert "unknown" in text
    assert lines(PLAN) == [
        "data      mnist 3.0.1 in /data",
        "time      2 of 3 nodes run: 60 s last time and 1 whose time is unknown",
        "disk      needs up to 24 MB of disk in /runs, 1 GB free",
        "champion  version 17 (clean 98.00%, worst case 94.00%); not compared: the purpose differs",
        "push      a model that passes, and is not the served one, becomes a new version in "
        "/runs/serving, with a number above 17",
    ]


@pytest.mark.parametrize(
    ("nodes", "time"),
    [
        ([(False, None), (False, None)], "2 of 2 nodes run: 2 whose time is unknown"),
        ([(False, 0.2), (False, None)], "2 of 2 nodes run: 1 s last time and 1 whose time is unk"),
        ([(False, 3.0), (True, 60.0)], "1 of 2 nodes run: 3 s last time; the cache spares the oth"),
        ([(True, 60.0)], "0 of 1 nodes run; the cache spares the others, 60 s last time"),
    ],
    ids=["never", "in no time", "some", "none"],
)
def test_no_time_is_told_of_what_never_ran(
    nodes: list[tuple[bool, float | None]], time: str
) -> None:
    told = {
        str(number): NodeForecast(cached=cached, why="", seconds=seconds)
        for number, (cached, seconds) in enumerate(nodes)
    }
    assert time_of(dataclasses.replace(PLAN, nodes=told)).startswith(time)


@pytest.mark.parametrize(
    ("plan", "code", "message"),
    [
        (Plan(**vars(PLAN) | {"stops": "the run needs 1 GB"}), 1, "failed: the run needs 1 GB"),
        (ConfigError("it asks for less"), 2, "wrong usage: it asks for less"),
    ],
)
def test_it_ends_as_the_run_would(
    plan: Plan | Exception,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planning(monkeypatch, plan)
    result = dry_run(tmp_path / "root")
    assert result.exit_code == code
    assert message in result.stderr
    assert ("Trainer.robust" in result.stdout) is isinstance(plan, Plan)


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_what_no_model_can_pass_ends_before_anything_is_computed(
    more: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    settings = ["--set", "gates.required=square"]
    arguments = ["run", "--preset", "smoke", *settings, "--root", str(root), *more]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert "gates.required asks for square, which attack.* leaves out" in result.stderr
    assert "--anyway" in result.stderr
    assert not root.exists()


def test_anyway_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = planning(monkeypatch, PLAN)
    result = dry_run(tmp_path / "root", "--set", "gates.required=square", "--anyway")
    assert result.exit_code == 0
    assert "Note: whatever is trained will be refused: gates.required" in result.stdout
    assert asked[0].anyway
