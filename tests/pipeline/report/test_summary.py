"""What fails while the report is written: a problem, and no other outcome of the run."""

import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from answered import answered

from components.datasets.prepared import PreparedDataset
from components.evaluator.tally import tally
from components.records.names import CLEAN
from pipeline.definition.presets import preset
from pipeline.report import summary as report
from pipeline.report.run_summary import Outcome
from pipeline.root.root import EXAMPLES, IMAGES, SUMMARY


@dataclass(frozen=True)
class Figures:
    """As much of a summary as the report looks at."""

    caveats: tuple[str, ...] = ()
    gates: tuple[()] = ()
    seconds: float = 0.0
    class_names: tuple[str, ...] = ()
    fingerprint: str = ""
    test_fingerprint: str | None = None
    training: dict[str, None] = field(default_factory=lambda: {"robust": None})
    tuning: None = None

    def to_json(self) -> str:
        return json.dumps({"fingerprint": self.test_fingerprint})


@pytest.fixture
def stubs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that pushed version 7, whose figures do not matter."""
    connected = contextlib.nullcontext(SimpleNamespace(store=None))
    monkeypatch.setattr(report, "Metadata", lambda _: connected)
    outputs = SimpleNamespace(artifact=lambda *_: SimpleNamespace(uri="nowhere"))
    monkeypatch.setattr(report, "RunOutputs", lambda *_: outputs)
    monkeypatch.setattr(report, "pushed_by", lambda _: "/r/serving/7")
    monkeypatch.setattr(report, "split_fingerprint", lambda _, split: f"of {split}")
    monkeypatch.setattr(report, "summarised", lambda *_: Figures())
    monkeypatch.setattr(report, "caveats", lambda _, summary: summary.caveats)
    rows = SimpleNamespace(folders=["nowhere"])
    monkeypatch.setattr(report, "attacked_rows", lambda *_: rows)
    monkeypatch.setattr(report, "write_found", lambda folder, *_: (folder / EXAMPLES).touch())
    monkeypatch.setattr(report, "draw_picture", lambda *a: Path(a[-1]).touch())
    monkeypatch.setattr(report, "draw_training", lambda *a: Path(a[-1]).touch())


def written(folder: Path) -> Outcome:
    data = PreparedDataset(
        name="mnist", version="1", directory=str(folder / "data"), splits={}, fingerprint=""
    )
    return report.write_results(preset("smoke"), folder, "r", None, {}, time.monotonic(), data)


@pytest.mark.usefixtures("stubs")
@pytest.mark.parametrize(
    ("broken", "problem", "left"),
    [
        ("write_text", "summary.json", ["attacked.png", EXAMPLES, "training.png"]),
        ("write_found", f"{EXAMPLES} and {IMAGES}", ["attacked.png", SUMMARY, "training.png"]),
        ("draw_picture", "attacked.png", [EXAMPLES, SUMMARY, "training.png"]),
        ("draw_training", "training.png", ["attacked.png", EXAMPLES, SUMMARY]),
        ("summarised", "the summary", []),
        (
            "split_fingerprint",
            "the fingerprint of the test images",
            ["attacked.png", EXAMPLES, SUMMARY, "training.png"],
        ),
        (
            "read_notes",
            "the notes on the images",
            ["attacked.png", EXAMPLES, SUMMARY, "training.png"],
        ),
    ],
)
def test_a_part_that_fails_is_named_and_the_others_are_there(
    broken: str, problem: str, left: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, broken, fail)
    outcome = written(tmp_path)
    assert outcome.pushed == "/r/serving/7"
    assert outcome.problems == [f"{problem} failed: [Errno 28] No space left on device"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left


@pytest.mark.usefixtures("stubs")
def test_a_whole_report_has_no_problems(tmp_path: Path) -> None:
    assert written(tmp_path).problems == []
    assert json.loads((tmp_path / "summary.json").read_text()) == {"fingerprint": "of test[:500]"}


def test_a_push_that_nobody_compared_with_the_version_before_says_so(tmp_path: Path) -> None:
    for version in ("3", "20", "100"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "saved_model.pb").touch()
    (found,) = report.unasked(0.0, f"{tmp_path}/100")
    assert found.startswith("This model took the place of version 20, and may be worse: gates.ch")
    assert not report.unasked(0.025, f"{tmp_path}/100")
    assert not report.unasked(0.0, f"{tmp_path}/3"), "the first one"
    assert not report.unasked(0.0, None)


@pytest.mark.parametrize(
    ("right", "told"),
    [
        ([True, False] * 50, True),  # one answer for all images of two classes
        ([i % 10 < 6 for i in range(100)], True),  # which chance gives, too
        ([i % 10 < 9 for i in range(100)], False),
    ],
    ids=["constant", "chance", "learned"],
)
def test_a_model_that_may_have_learned_nothing_is_told_of(right: list[bool], told: bool) -> None:
    found = report.guessing(tally(answered({CLEAN: right})))
    assert [text.partition(" It")[0] for text in found] == told * [
        f"The model is right on {sum(right) / 100:.2%} of the images without an attack; always "
        "saying the most frequent class gives 50.00%."
    ]
