"""Rollback, bless and predict: wrong usage, what they ask the child for, what they say."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from png_files import png

import gauntlet.work
from components.versions import Card, PushedBy, Version
from gauntlet.cli import main
from pipeline.production.requests import Classification, ForcedPush, Rollback
from pipeline.root.root import Root

BY_HAND = {"by": "ada", "at": "2026-11-26T22:45:24+00:00", "reason": "too [slow]"}


def answered(monkeypatch: pytest.MonkeyPatch, command: str, answer: Any) -> list[Any]:
    """The requests of a command, whose child gives this answer."""
    requests: list[Any] = []

    def call(library: str, function: str, request: Any, *_: Any) -> Any:
        requests.append(request)
        module, _, name = function.partition(":")
        assert callable(getattr(importlib.import_module(module), name))
        return answer

    monkeypatch.setattr(gauntlet.work, "call_with", call)
    return requests


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bless", "--reason", "x"], "say --force"),
        (["bless", "--force"], "say why, by --reason"),
        (["rollback"], "say why, by --reason"),
        (["rollback", "--reason", " "], "say why, by --reason"),
        (["rollback", "--reason", "fine\n7: serving"], "--reason takes one line of text"),
        (["rollback", "--reason", "fine", "--by", "ada\x1b[31m"], "--by takes one line of text"),
        (["rollback", "--reason", "\u202eenif"], "--reason takes one line of text"),
        (["models", "--root", "nowhere"], "there is no folder"),
        (["rollback", "--root", "gs://bucket/x"], "expected a local folder"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    done = CliRunner().invoke(main, arguments, env={"COLUMNS": "300"})
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.parametrize(
    ("card", "shown"),
    [
        (
            Card(kind=PushedBy.ROLLBACK, of="3", **BY_HAND),
            "version 7 is served: back to version 3, by ada: too [slow]\n",
        ),
        (
            Card(kind=PushedBy.ROLLBACK, of="3", **BY_HAND | {"reason": "before"}),
            "version 7 is served already, nothing was pushed: back to version 3, by ada: before\n",
        ),
        (Card(), "version 7 is served already, nothing was pushed\n"),
    ],
    ids=["pushed", "gone-back-already", "served-already"],
)
def test_rollback_says_what_is_served(
    card: Card, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Version(version="7", serving=True, card=card)
    requests = answered(monkeypatch, "rollback", answer)
    arguments = ["rollback", "3", "--root", str(tmp_path), "--reason", "too [slow]"]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, done.output) == (0, shown)
    assert requests == [Rollback(root=Root(tmp_path), version="3", reason="too [slow]")]


@pytest.mark.parametrize(
    ("refused_by", "overridden"),
    [("worst_case,square", "worst_case,square refused it"), ("", "its blessing was withdrawn")],
    ids=["refused", "withdrawn"],
)
def test_bless_says_what_it_overrode(
    refused_by: str, overridden: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = Card(kind=PushedBy.FORCED, refused_by=refused_by, **BY_HAND)
    requests = answered(monkeypatch, "bless", Version(version="7", serving=True, card=card))
    arguments = ["bless", "--force", "--root", str(tmp_path), "--reason", "too [slow]"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    assert done.output == (
        f"version 7 is served, though {overridden}; recorded: ada, 2026-11-26T22:45:24+00:00, "
        "too [slow]\n"
    )
    assert requests == [ForcedPush(root=Root(tmp_path), run_id=None, reason="too [slow]")]


def test_predict_shows_and_writes_the_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = importlib.import_module("pipeline.production.prediction")
    answers = (
        prediction.Answer(label=2, name="fox [red]", probability=0.9707),
        prediction.Answer(label=3, name=None, probability=0.5),
    )
    images = (Path("a[1].png"), Path("b.png"))
    monkeypatch.chdir(tmp_path)
    for image in images:
        image.write_bytes(png(8, 8))
    given = prediction.Answers(version="7", images=images, answers=answers)
    requests = answered(monkeypatch, "predict", given)
    file = tmp_path / "answers.json"
    arguments = ["predict", "--root", str(tmp_path), "a[1].png", "b.png", "--json", str(file)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0
    for part in ("Version 7", "a[1].png", "97.07%", "fox [red]", "unknown"):
        assert part in done.output
    assert json.loads(file.read_text()) == {
        "schema": "gauntlet/predict/1",
        "version": "7",
        "answers": [
            {"image": "a[1].png", "class": 2, "label": "fox [red]", "probability": 0.9707},
            {"image": "b.png", "class": 3, "label": None, "probability": 0.5},
        ],
    }
    assert requests == [Classification(root=Root(tmp_path), images=images)]


def test_what_is_no_png_is_refused_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = answered(monkeypatch, "predict", None)
    monkeypatch.chdir(tmp_path)
    Path("good.png").write_bytes(png(8, 8))
    Image.new("L", (8, 8)).save("photo.jpg")
    Path("text.png").write_text("no image")
    files = ["good.png", "photo.jpg", "text.png", "nowhere.png", "."]
    done = CliRunner().invoke(main, ["predict", "--root", ".", *files])
    assert (done.exit_code, requests) == (4, [])
    assert done.stderr.splitlines() == [
        "data refused: 4 of 5 files cannot be taken:",
        "photo.jpg is a JPEG; the served model takes PNG: save it as one",
        "text.png cannot be decoded as an image (its content is that of no known format)",
        "nowhere.png cannot be read (No such file or directory)",
        ". is a folder; name its files",
    ]
