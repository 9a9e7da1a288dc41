"""How progress is shown: bars on a terminal, lines in a pipe, JSON, nothing."""

import io
import itertools
import json
import logging
import re
import time
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from foundation.events import fields_of
from gauntlet import cli, display
from gauntlet.display import Bars, Display, Node, display_on, duration
from gauntlet.loudness import Loudness
from gauntlet.options import console_beside, voice_options
from gauntlet.voice import note, say

FIELDS = {"time", "level", "message", "node", "state", "seconds", "done", "total", "seconds_left"}


def record(message: str = "", level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    named = {"msg": message, "levelno": level, "levelname": logging.getLevelName(level)}
    return logging.makeLogRecord(named | fields)


RECORDS = [
    record(node="Trainer.robust", state="started"),
    record("training", progress=(5, 10)),
    record("the weights are [exported]"),
    record(node="Trainer.robust", state="cached", seconds=1.5),
    record("needs up to 3 MB", stays=True),
    record(node="Evaluator", state="started"),
    record("attacking", advance=500, total=2000),
    record(node="Evaluator", state="failed", seconds=2.0),
]


def shown(*records: logging.LogRecord, options: tuple[str, ...] = ()) -> Any:
    """What a command prints whose work logs these records."""

    @click.command
    @voice_options
    def command() -> None:
        console = console_beside()
        say(console, "run 1")
        note(console, "weaker [than] before")
        with display_on(console) as on:
            for each in records:
                on.show(each)
        console.print("the verdict")

    return CliRunner().invoke(command, options)


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_lines_in_a_pipe_say_how_a_node_begins_and_ends() -> None:
    assert lines(shown(*RECORDS).stdout) == [
        ["run", "1"],
        ["Note:", "weaker", "[than]", "before"],
        ["Trainer.robust", "started"],
        ["Trainer.robust", "cached", "1.5", "s"],
        ["needs", "up", "to", "3", "MB"],
        ["Evaluator", "started"],
        ["Evaluator", "failed", "2.0", "s"],
        ["the", "verdict"],
    ]


def test_a_pipe_gets_no_escape_codes() -> None:
    assert "\x1b" not in shown(*RECORDS).output


def test_a_node_that_says_nothing_is_told_of_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock on the wall decides, not the records."""
    monkeypatch.setattr(display, "SECONDS_BETWEEN_LINES", 0.05)
    output = io.StringIO()
    with display_on(Console(file=output)) as on:
        on.show(record(node="StatisticsGen", state="started"))
        until = time.monotonic() + 10.0
        while output.getvalue().count("\n") < 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert lines(output.getvalue())[1][:4] == ["StatisticsGen", "under", "way", "for"]
    assert output.getvalue().count("\n") >= 3


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ([], "under way for 20 s"),
        ([record("check gradients")], "check gradients, under way for 20 s"),
        (
            [record("attacking", advance=1000, total=10_000) for _ in range(2)],
            "attacking, 2,000 of 10,000 images, about 1 min left",
        ),
        ([record("judging", advance=500, unit="rows")], "judging, 500 rows, under way for 20 s"),
        (
            [record("epoch 4 of 12", progress=(done, 1200)) for done in (300, 400)],
            "epoch 4 of 12, 33%, about 1 min left",
        ),
        (
            [record("check", advance=1, total=9, unit="checks"), record("attacking", advance=32)],
            "attacking, 32 images, under way for 20 s",
        ),
        # A training went back an epoch, and a second count began: the old pace says nothing.
        (
            [record("epoch 1 of 2", progress=(done, 100)) for done in (0, 50, 25)],
            "epoch 1 of 2, 25%, under way for 20 s",
        ),
        (
            [record("verifying", progress=(9, 9)), record("preparing", progress=(1, 100))],
            "preparing, 1%, under way for 20 s",
        ),
    ],
)
def test_counts_and_the_time_left(
    records: list[logging.LogRecord], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of several records comes after eight seconds."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    node = Node("Node", begin=0.0)
    for each in records:
        now = 8.0 if each is records[-1] and len(records) > 1 else 0.0
        node.hear(each.getMessage(), fields_of(each))
    now = 8.0 if "left" in told else 20.0
    assert node.told() == told


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.0, "59 s"), (59.9, "1 min"), (360, "6 min"), (4800, "1 h 20 min")],
)
def test_a_time_for_a_person(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_bars_on_a_terminal() -> None:
    console = Console(force_terminal=True, width=120, record=True, file=io.StringIO())
    with display_on(console) as on:
        on.show(record(node="Trainer.robust", state="started"))
        for done in itertools.chain(range(0, 100, 10), [100]):
            on.show(record("training", progress=(done, 100)))
        on.show(record("attacking [1]", advance=1500))
        on.show(record("reading"))
        on.show(record(node="Trainer.robust", state="finished", seconds=1.5))
    assert "Trainer.robust" in console.export_text()


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_text_leaves_the_bar_its_room(width: int) -> None:
    console = Console(force_terminal=True, width=width, record=True, file=io.StringIO())
    with display_on(console) as on:
        on.show(record(node="AdversarialExampleGen", state="started"))
        for message in ("check served_model_is_the_evaluated_one", "attacking"):
            on.show(record(message, advance=12, total=1000))
            assert isinstance(on, Bars)
            on._progress.refresh()
    lines = re.split(r"(?=⠋)", console.export_text())[2:]
    assert {len(line.rstrip("\n")) for line in lines} == {width}
    assert {sum(map(line.count, "━╺╸")) for line in lines} == {8 if width < 100 else 24}
    assert "attacking 24 of 1,000 images" in lines[1]


def test_quiet_leaves_the_verdict() -> None:
    result = shown(*RECORDS, options=("--quiet",))
    assert (result.stdout, result.stderr) == ("the verdict\n", "")


def test_verbose_adds_what_is_logged_except_counts() -> None:
    text = shown(*RECORDS, options=("--verbose",)).stdout
    assert "\nthe weights are [exported]\n" in text
    assert "training" not in text


def test_log_json_goes_to_standard_error_and_the_result_does_not() -> None:
    result = shown(*RECORDS, record("old", logging.WARNING), options=("--log-json",))
    assert result.stdout == "the verdict\n"
    said = [json.loads(line) for line in result.stderr.splitlines()]
    assert all(set(line) == FIELDS for line in said)
    assert [(line["level"], line["node"], line["state"]) for line in said] == [
        ("info", None, None),
        ("warning", None, None),
        ("info", "Trainer.robust", "started"),
        ("info", "Trainer.robust", "running"),
        ("info", "Trainer.robust", None),
        ("info", "Trainer.robust", "cached"),
        ("info", None, None),
        ("info", "Evaluator", "started"),
        ("info", "Evaluator", "failed"),
        ("warning", None, None),
    ]
    assert (said[3]["done"], said[3]["total"]) == (5, 10)
    assert (said[-2]["done"], said[-2]["total"]) == (500, 2000)
    assert said[-2]["seconds"] == 2.0


@pytest.mark.parametrize(
    "options", itertools.permutations(("--quiet", "--verbose", "--log-json"), 2)
)
def test_they_exclude_each_other(options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(cli.main, ["run", *options])
    assert result.exit_code == 2
    assert f"{options[0]} and {options[1]} exclude each other; give one of them" in result.stderr


def test_an_error_is_a_line_of_json_too() -> None:
    arguments = ["run", "--log-json", "--preset", "smoke", "--set", "trainer.epochs=0"]
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    (line,) = (json.loads(line) for line in result.stderr.splitlines())
    assert line["level"] == "error"
    assert line["message"].startswith("wrong usage: ")


def test_without_options_nothing_is_left_out() -> None:
    assert type(display_on(Console(file=io.StringIO()))) is not Display
    assert set(Loudness) == {"normal", "quiet", "verbose", "log-json"}
