"""The tables of a run say what its summary says."""

import dataclasses
import io
from pathlib import Path

import pytest
from judged_model import JUDGED
from rich.console import Console

from components.changes import Signature
from components.evaluator.explained import Explanation
from gauntlet.tables.run import (
    accuracy_table,
    gate_table,
    images_against,
    print_summary,
    tuning_table,
)
from pipeline.report.run_summary import Accuracies, NodeRun, RunSummary, Trial, Tuning
from robustness.config import CheckName, ThreatModel

IDS = [f"image-{i}" for i in range(7)]


def explained(name: str, value: float | None, bound: float, passed: bool) -> Explanation:
    return Explanation(
        name=name,
        passed=passed,
        value=value,
        interval=None,
        judged=value,
        op=">=",
        bound=bound,
        images_to_change=None,
        ids=[],
        sentence="What [was] found.",
    )


UNDEFENDED = Accuracies(
    clean=0.99,
    transfer={"fgsm": 0.95, "strongest": 0.85},
    white_box={"fgsm": 0.5, "apgd-t": 0.4, "square": 0.35},
    worst_case=0.3,
    certified=None,
    certified_by={},
)
ROBUST = dataclasses.replace(
    UNDEFENDED, worst_case=0.32, certified=0.25, certified_by={"ibp": 0.1, "crown": 0.25}
)


def example_summary(pushed: str | None) -> RunSummary:
    clean = explained("clean", 0.99, 0.98, True)
    certified = explained("certified", 0.25, 0.26, bool(pushed))
    return RunSummary(
        run_id="r",
        preset="smoke",
        dataset="mnist",
        judged=JUDGED,
        class_names=[],
        seed=0,
        threat=ThreatModel(epsilon=0.2),
        suite="fast",
        attacks={
            "fgsm": {"steps": 1, "restarts": 1},
            "apgd-t": {"steps": 50, "restarts": 2},
            "square": {"queries": 2500, "restarts": 1},
        },
        examples={"test": 10_000},
        models={"undefended": UNDEFENDED, "robust": ROBUST},
        training={},
        checks=[],
        gates=[
            dataclasses.replace(clean, interval=(0.985, 0.995)),
            explained("worst_case", None, 0.9, bool(pushed)),
            dataclasses.replace(certified, interval=(0.24, 0.26), images_to_change=130, ids=IDS),
        ],
        serving_problems=[] if pushed else ["signature [x] is missing"],
        blessed=bool(pushed),
        withdrawn=None,
        forced=None,
        pushed=pushed,
        nodes={"Pusher": NodeRun(seconds=1.0, cached=True)},
        tuning=None,
        caveats=["Weak."],
        seconds=12.3,
    )


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
    assert "130 more images must be classified correctly to pass." in text
    assert (
        "image-0, image-1, image-2, image-3, image-4 and 2 more in /data/[x]/runs/r/summary.json"
        in text
    )
    assert "24.00% to 26.00%" in text


def test_a_gate_that_could_not_compare_does_not_read_passed() -> None:
    reason = "the champion knows other classes (cat is gone, [cow] is new), accepted"
    gates = [
        dataclasses.replace(explained(name, 0.0, 0.025, True), not_compared=reason)
        for name in ("champion_clean", "champion_worst_case")
    ]
    console = Console(width=120, record=True, file=io.StringIO())
    summary = dataclasses.replace(example_summary("/serving/17"), gates=gates)
    print_summary(summary, Path("/data"), console)
    text = console.export_text()
    assert "passed" not in text
    assert text.count("not compared") == 2
    assert text.count(f"Not compared: {reason}") == 1


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
        ["left by apgd-t (50 steps, 2 restarts)", "40.00%", "40.00%"],
        ["left by square (2,500 queries)", "35.00%", "35.00%"],
        ["worst case over all of these", "30.00%", "32.00%"],
        ["certified", "-", "25.00%"],
    ]


@pytest.mark.parametrize(
    ("reason", "shown"), [("too slow [x]", ": too slow [x]"), ("", "")], ids=["reason", "none"]
)
def test_a_blessing_that_was_withdrawn_is_named_as_such(reason: str, shown: str) -> None:
    """After a rollback, the same command takes evaluation and blessing from the cache: all gates
    passed, and still nothing is pushed."""
    withdrawn = Signature(by="ada", at="2026-11-26T22:45:24+00:00", reason=reason)
    summary = dataclasses.replace(
        example_summary("/serving/17"), pushed=None, blessed=False, withdrawn=withdrawn
    )
    console = Console(width=60, record=True, file=io.StringIO())
    print_summary(summary, Path("/r"), console)
    assert (
        "Refused: this model's blessing was withdrawn (rollback on 2026-11-26 by ada"
        f"{shown}); nothing was pushed" in console.export_text()
    )


def test_the_trials_of_a_search_are_shown_with_their_settings() -> None:
    best = Trial(
        trial="0", values={"recipe.beta": 6.0}, score=1.0, clean=0.98, adversarial=0.9,
        certified=None, chosen=True, front=True,
    )  # fmt: skip
    other = dataclasses.replace(best, values={"recipe.beta": 0.123456}, chosen=False, front=False)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(tuning_table(Tuning(clean_floor=0.97, trials=[best, other])))
    text = console.export_text()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines()]
    assert [row for row in cells if len(row) == 5] == [
        ["6", "98.00%", "90.00%", "-", "chosen, front"],
        ["0.1235", "98.00%", "90.00%", "-", ""],
    ]
    assert "clean accuracy at least 97.00%" in " ".join(text.split())


def test_of_many_images_against_a_model_the_summary_names_a_sample() -> None:
    gate = explained("worst_case", 0.1, 0.9, False)
    many = dataclasses.replace(gate, ids=[f"image-{i}" for i in range(100)], images_against=1234)
    assert images_against(many, Path("/runs/r/summary.json")) == (
        "Images against it: image-0, image-1, image-2, image-3, image-4 and 1,229 more; 100 of "
        "the 1,234 are named in /runs/r/summary.json"
    )
    one = dataclasses.replace(gate, ids=["a"], images_against=1)
    assert images_against(one, Path("r/summary.json")) == "Images against it: a"


def test_images_made_against_the_champion_have_a_row() -> None:
    """They count in the worst case over all of these."""
    summary = example_summary(None)
    models = {
        name: dataclasses.replace(shares, transfer=shares.transfer | {"fgsm@champion": 0.91})
        for name, shares in summary.models.items()
    }
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(accuracy_table(dataclasses.replace(summary, models=models)))
    assert "fgsm image made against the champion" in console.export_text()


def test_the_names_of_gates_are_whole_in_80_columns() -> None:
    """A name that is broken in two cannot be given to --gate."""
    names = [str(name) for name in CheckName]
    share = {"interval": (0.98765, 1.0), "bound": 0.98765}
    gates = [
        dataclasses.replace(explained(name, 0.98765, 0, True), **share, not_compared="why")
        for name in names
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(gate_table(gates))
    text = console.export_text()
    assert all(name in text for name in names)
    assert max(map(len, text.splitlines())) <= 80
    assert "100.00%" in text


def test_grey_levels_are_shown_as_such_and_written_in_full(tmp_path: Path) -> None:
    summary = dataclasses.replace(example_summary(None), threat=ThreatModel(epsilon=8 / 255))
    console = Console(width=200, record=True, file=io.StringIO())
    print_summary(summary, tmp_path, console)
    text = console.export_text()
    assert "linf, epsilon 8/255, seed 0" in text
    assert "any change of each pixel by at most 8/255 (pixels in [0, 1], L-infinity)" in text
    assert "0.031" not in text
    assert f'"epsilon": {8 / 255}' in summary.to_json()
