"""The tables of an evaluation say what its report says."""

import io
from pathlib import Path

from judged_model import JUDGED
from rich.console import Console

from gauntlet.evaluation.chance import Chance
from gauntlet.evaluation.report import Report, Result
from gauntlet.tables.evaluation import print_evaluation
from robustness.config import Check, CheckName, Norm

RESULT = Result(
    norm=Norm.LINF,
    epsilon=0.1,
    examples=1200,
    seed=3,
    clean=0.9,
    worst_case=0.5,
    attacks={"fgsm": 0.7, "square": 0.5},
    efforts={"fgsm": {"steps": 1}, "square": {"queries": 5000, "restarts": 2}},
    certified=None,
    certified_by={},
    not_certified="no bound for [Tanh]",
    seconds_by={"fgsm": 1.0},
    checks=(
        Check(name=CheckName.PROOFS_HOLD, passed=False, value=None, sentence="A [b]."),
        Check(name=CheckName.LOGITS_ARE_FINITE, passed=True, value=0.0, sentence="Yes."),
        Check(name=CheckName.NOISE_DOES_NOT_HELP, passed=None, value=0.0, sentence="Too few."),
    ),
    seconds=61.6,
    examples_file=Path("/out/[x]/examples.csv"),
)
REPORT = Report(
    model=Path("/m"),
    judged=JUDGED,
    sample=Chance(images=500, right=0.9, chance=0.5),
    fingerprint="abc",
    trust=False,
    sandbox=None,
    dataset="mnist",
    split="test",
    suite="fast",
    notes=("The softmax was removed.",),
    results=(RESULT,),
    corruptions={"fog": 0.25},
    folder=Path("/out/[x]"),
)


def test_everything_is_shown() -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    print_evaluation(REPORT, console)
    text = console.export_text()
    cells = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines()]
    for row in (
        ["clean", "90.00%"],
        ["left by fgsm", "70.00%"],
        ["left by square (5,000 queries, 2 restarts)", "50.00%"],
        ["worst case", "50.00%"],
        ["certified", "-"],
        ["proofs hold", "failed", "A [b]."],
        ["logits are finite", "passed", "Yes."],
        ["noise does not help", "could not tell", "Too few."],
        ["none", "90.00%"],
        ["fog", "25.00%"],
    ):
        assert row in cells
    for part in (
        "1,200 images, linf, seed 3",
        "Not certified: no bound for [Tanh]",
        "See the note on this model above.",
        "62 s of judging; every image's verdict, results.json and curve.png are in /out/[x]",
    ):
        assert part in text


def test_what_was_judged_is_in_words() -> None:
    assert JUDGED.lines() == [
        ("model", "/m (SavedModel, signature serving_[default])"),
        ("input", "x: float32 [n, 28, open, 1], pixels 0:255, channels first"),
        ("output", "z: float16 logits; the softmax and tanh at its end was taken off"),
        ("classes", "2: 0 (cat), 1 (dog) (--classes)"),
    ]
