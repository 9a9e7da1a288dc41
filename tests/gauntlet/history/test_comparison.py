"""Two runs beside each other: no number without what it rests on."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from past_runs import FIRST, SECOND, found_on, gate, summary_of, write_past_run
from scipy.stats import binomtest

from components.records.table import Found
from gauntlet.history.comparison import Comparison, compare
from gauntlet.history.figures import Compared
from pipeline.report.run_summary import RunSummary
from pipeline.root.root import EXAMPLES, Root
from robustness.config import Norm, ThreatModel

OURS = found_on({0: "clean", 1: "fgsm", 2: "pgd", 3: "fgsm@undefended"})
THEIRS = found_on({number: "pgd" for number in range(4, 14)})


def compared(
    tmp_path: Path,
    theirs: list[Found] = THEIRS,
    second: RunSummary | None = None,
    **settings: Any,
) -> Comparison:
    write_past_run(tmp_path, summary_of(OURS), OURS)
    second = second or summary_of(theirs, SECOND)
    write_past_run(tmp_path, second, theirs, **settings)
    return compare(Root(tmp_path), FIRST, SECOND)


def figure(comparison: Comparison, name: str) -> Compared:
    (found,) = [each for each in comparison.figures if each.name == name]
    return found


def test_every_figure_has_its_interval_and_difference(tmp_path: Path) -> None:
    worst = figure(compared(tmp_path), "worst case")
    assert worst.a
    assert worst.b
    assert (worst.a.value, worst.b.value, worst.a.images) == (0.8, 0.5, 20)
    assert worst.difference == pytest.approx(-0.3)
    exact = binomtest(16, 20).proportion_ci(0.95, "exact")
    assert worst.a.interval == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("clean", (0, 1)),
        ("left by fgsm", (0, 2)),
        ("left by pgd (20 steps)", (10, 3)),
        ("worst case", (10, 4)),
        ("certified", (0, 0)),
    ],
)
def test_significance_is_that_of_the_same_images(
    tmp_path: Path, name: str, alone: tuple[int, int]
) -> None:
    paired = figure(compared(tmp_path), name).paired
    assert paired
    assert (paired.a_alone, paired.b_alone) == alone
    expected = binomtest(alone[0], sum(alone)).pvalue if sum(alone) else 1.0
    assert paired.p_value == pytest.approx(expected)


def test_the_order_of_the_images_does_not_matter(tmp_path: Path) -> None:
    first = figure(compared(tmp_path / "1"), "worst case")
    assert first == figure(compared(tmp_path / "2", THEIRS[::-1]), "worst case")


def test_what_a_run_notes_for_all_images_together_is_not_tested(tmp_path: Path) -> None:
    transfer = figure(compared(tmp_path), "transfer of fgsm")
    assert (transfer.paired, "all images together" in transfer.why_not) == (None, True)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dataset": "pets"}, "the data sets are mnist and pets"),
        (
            {"test_fingerprint": "b" * 64},
            "the files of the test images are not the same (fingerprints aaaaaaaaaaaa and "
            "bbbbbbbbbbbb), so images of the same name may be others",
        ),
        ({"threat": ThreatModel(epsilon=0.3)}, "the threats are linf 0.2 and linf 0.3"),
        ({"threat": ThreatModel(norm=Norm.L2, epsilon=0.2)}, "the threats are linf 0.2 and l2 0.2"),
    ],
    ids=["data", "files", "epsilon", "norm"],
)
def test_other_questions_are_not_comparable(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    comparison = compared(tmp_path, second=summary_of(THEIRS, SECOND, **change))
    assert comparison.not_comparable == (reason,)
    assert [each.paired for each in comparison.figures] == [None] * len(comparison.figures)


def test_other_training_images_are_told_of_and_the_test_images_are_compared(tmp_path: Path) -> None:
    comparison = compared(tmp_path, second=summary_of(THEIRS, SECOND, fingerprint="1" * 64))
    assert comparison.notes == (
        "the files of the data are not the same, except those of the test images",
    )
    assert not comparison.not_comparable
    assert not compared(tmp_path / "other").notes


def test_what_did_not_note_its_data_is_not_taken_for_the_same_images(tmp_path: Path) -> None:
    comparison = compared(tmp_path, second=summary_of(THEIRS, SECOND, test_fingerprint=None))
    assert (comparison.not_comparable, comparison.images) == ((), (20, 20, 20))
    worst = figure(comparison, "worst case")
    assert (worst.paired, worst.difference) == (None, pytest.approx(-0.3))
    assert (
        f"is not known, because no fingerprint of the test images was noted of {SECOND}"
        in worst.why_not
    )


def test_other_images_are_not_comparable(tmp_path: Path) -> None:
    comparison = compared(tmp_path, THEIRS[:15])
    (reason,) = comparison.not_comparable
    assert reason == "the test images are not the same: 20 and 15, of which 15 are in both"
    assert comparison.images == (20, 15, 15)
    assert not any(each.paired for each in comparison.figures)


def test_images_of_one_name_and_two_labels_are_not_comparable(tmp_path: Path) -> None:
    theirs = [each._replace(label=3) for each in THEIRS]
    comparison = compared(tmp_path, theirs)
    assert comparison.not_comparable == ("18 images of the same name have other labels",)


def test_models_that_were_tried_less_hard_are_compared_on_clean_images_alone(
    tmp_path: Path,
) -> None:
    attacks = {"fgsm": {"steps": 1, "restarts": 1}, "pgd": {"steps": 5, "restarts": 1}}
    comparison = compared(tmp_path, second=summary_of(THEIRS, SECOND, attacks=attacks))
    assert [each.name for each in comparison.figures if each.paired] == ["clean"]
    assert "not attacked in the same way" in figure(comparison, "worst case").why_not
    assert figure(comparison, "left by pgd (20 steps)").b is None
    assert figure(comparison, "left by pgd (5 steps)").a is None


def test_a_run_without_its_table_of_images_says_so(tmp_path: Path) -> None:
    write_past_run(tmp_path, summary_of(OURS), OURS)
    write_past_run(tmp_path, summary_of(THEIRS, SECOND))
    comparison = compare(Root(tmp_path), FIRST, SECOND)
    (note,) = comparison.notes
    assert f"run {SECOND} has no {EXAMPLES}" in note
    assert comparison.images == (20, 20, None)
    assert not any(each.paired for each in comparison.figures)


def test_a_table_that_is_damaged_is_named(tmp_path: Path) -> None:
    write_past_run(tmp_path, summary_of(OURS), OURS)
    folder = write_past_run(tmp_path, summary_of(THEIRS, SECOND))
    (folder / EXAMPLES).write_text("id,label\na,3\n")
    (note,) = compare(Root(tmp_path), FIRST, SECOND).notes
    assert f"{EXAMPLES} is damaged" in note


def test_a_table_that_says_otherwise_than_the_summary_is_not_believed(tmp_path: Path) -> None:
    theirs = [each._replace(broken_by="") for each in THEIRS]
    comparison = compared(tmp_path, theirs, summary_of(THEIRS, SECOND))
    worst = figure(comparison, "worst case")
    assert (worst.paired, "says otherwise than its summary" in worst.why_not) == (None, True)
    assert figure(comparison, "clean").paired


def test_only_settings_that_differ_are_named(tmp_path: Path) -> None:
    comparison = compared(tmp_path, trainer={"epochs": 2, "dense": [8]})
    assert [(each.name, each.a, each.b) for each in comparison.settings] == [
        ("trainer.epochs", None, 2),
        ("trainer.dense", None, [8]),
    ]


def test_gates_that_say_otherwise_are_named_with_what_they_say(tmp_path: Path) -> None:
    ours = [gate("clean", True), gate("worst_case", True), gate("old", True)]
    compared_with = dataclasses.replace(
        gate("clean", True), passed=None, not_compared="no champion"
    )
    theirs = [compared_with, gate("worst_case", False), gate("new", True)]
    write_past_run(tmp_path, summary_of(OURS, gates=ours))
    second = summary_of(THEIRS, SECOND, gates=theirs, pushed=None)
    write_past_run(tmp_path, second)
    comparison = compare(Root(tmp_path), FIRST, SECOND)
    assert [(each.name, each.a, each.b) for each in comparison.flipped] == [
        ("clean", "passed", "not compared"),
        ("worst_case", "passed", "refused"),
        ("old", "passed", "not asked"),
        ("new", "not asked", "passed"),
    ]
    assert comparison.outcomes == ("pushed as version 7", "refused by worst_case")
