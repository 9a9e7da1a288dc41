"""The gates on a model that was evaluated outside of a pipeline: the pipeline's own."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from components.evaluator.explained import Explanation
from components.policy import OPEN, GatesConfig
from gauntlet.evaluation.judgement import NOT_COMPARED, judged_by, tally_of
from robustness.config import Check, CheckName
from robustness.evaluation import Verdict

BROKEN = ["", "", "", "", "", "", "clean", "pgd", "pgd", "square"] * 20
PROVEN = ["ibp", "ibp", "crown", "", "", "", "", "", "", ""] * 20
LABELS = np.arange(200) % 2
STAGES = ("ibp", "crown", "pgd", "square")
FINITE = Check(name=CheckName.LOGITS_ARE_FINITE, passed=True, value=0.0, sentence="All are.")


def verdict() -> Verdict:
    return Verdict(
        label=LABELS[::-1].copy(),  # outputs of a model whose classes stand in another order
        prediction=np.zeros(200, np.int64),
        broken_by=np.array(BROKEN),
        certified_by=np.array(PROVEN),
        x_adv=np.zeros((0, 0, 0, 0), np.float32),
        seconds={},
    )


def judged(config: GatesConfig, *checks: Check, undone: str = "") -> dict[str, Explanation]:
    ids = [b"%d" % i for i in range(200)]
    tally = tally_of(ids, LABELS, verdict(), STAGES, checks)
    return {gate.name: gate for gate in judged_by(config, ("cat", "dog"), tally, undone)}


def asked(**gates: object) -> GatesConfig:
    return GatesConfig(**{**vars(OPEN), **gates})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "right"), [("clean", 180), ("white_box", 120), ("worst_case", 120), ("certified", 60)]
)
def test_shares_have_the_exact_interval_whose_lower_end_is_judged(name: str, right: int) -> None:
    interval = binomtest(right, 200).proportion_ci(0.95, method="exact")
    for bound in (interval.low - 1e-6, interval.low + 1e-6):
        gate = judged(asked(**{name: bound}))[name]
        assert gate.value == right / 200
        assert gate.interval == pytest.approx((interval.low, interval.high))
        assert gate.passed is (bound < interval.low)


def test_a_class_is_named_by_the_labels_of_the_data() -> None:
    """Of the even images 80 are right in the worst case, of the odd ones 60 with another 40
    wrong."""
    sentence = judged(asked(worst_class=0.9))["worst_class"].sentence
    odd = sum(not broken for broken in BROKEN[1::2])
    even = sum(not broken for broken in BROKEN[0::2])
    worst = "dog" if odd < even else "cat"
    assert f"class {worst}" in sentence or odd == even
    assert "the 100 images of class" in sentence


def test_attacks_that_did_not_run_are_missing() -> None:
    gate = judged(asked(required=("ibp", "pgd", "fab-t")))["required"]
    assert gate.passed is False
    assert gate.sentence == "The candidate did not face fab-t."


@pytest.mark.parametrize(
    ("checks", "passed"),
    [
        ((), False),
        ((FINITE,), True),
        ((replace(FINITE, passed=False),), False),
        ((replace(FINITE, passed=None),), False),
    ],
    ids=["did not run", "passed", "failed", "could not tell"],
)
def test_a_check_passes_only_where_it_ran_and_passed(
    checks: tuple[Check, ...], passed: bool
) -> None:
    config = asked(checks=(CheckName.LOGITS_ARE_FINITE,))
    assert judged(config, *checks)["logits_are_finite"].passed is passed


def test_what_asks_for_a_champion_is_not_compared_and_says_so() -> None:
    gates = judged(asked(champion=0.025, best=0.01))
    for name in ("champion_clean", "champion_worst_case", "best"):
        assert gates[name].passed is None
        assert gates[name].not_compared == NOT_COMPARED


def test_no_gate_on_images_holds_where_some_were_not_judged() -> None:
    undone = "The time sufficed for 200 of 1,000 images."
    gates = judged(
        asked(clean=0.1, worst_case=0.1, gap=0.9, checks=(FINITE.name,), required=("pgd",)),
        FINITE,
        undone=undone,
    )
    refused = {name for name, gate in gates.items() if gate.refuses}
    assert refused == {"clean", "worst_case", "gap"}
    assert gates["certified"].word == "reported", "nobody asked for it"
    assert gates["clean"].sentence.startswith(f"{undone} 90.00% of 200 images")
    assert gates["clean"].images_to_change is None


def test_the_answers_of_a_server_are_no_gate_of_a_check() -> None:
    """Nobody asked the served model about every image, and what did not run does not pass."""
    assert "served" not in judged(asked(clean=0.5))
