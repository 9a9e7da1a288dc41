"""Gates: what each judges, its intervals and tests against closed forms, and what it asks and
says."""

import dataclasses
import json
import math
from typing import Any

import pytest
from answered import answered
from scipy.stats import beta

from components.evaluator.asked import gates
from components.evaluator.explanation import explain
from components.evaluator.finding import confidence_interval
from components.evaluator.gate import (
    Accuracy,
    Best,
    Certified,
    Disagreement,
    FailedCheck,
    Gap,
    Gate,
    Missing,
    NoWorse,
    WorstCase,
    WorstClass,
)
from components.evaluator.tally import Tally, tally
from components.records.names import CHAMPION, CLEAN
from components.records.record import Rows
from pipeline.definition.presets import preset
from robustness.config import CheckName

FGSM = "fgsm@robust"


def of(*args: Any, **kwargs: Any) -> Tally:
    """The tally of rows that `answered` makes."""
    return tally(answered(*args, **kwargs))


def clean(bound: float) -> Gate:
    return Accuracy(name="clean", bound=bound, argument=(CLEAN,))


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (93, 100), (9467, 10_000)])
def test_the_interval_is_that_of_clopper_and_pearson(k: int, n: int) -> None:
    low = 0.0 if k == 0 else beta.ppf(0.025, k, n - k + 1)
    high = 1.0 if k == n else beta.ppf(0.975, k + 1, n - k)
    assert confidence_interval(k, n) == pytest.approx((low, high))


def test_a_share_is_judged_on_the_lower_end() -> None:
    """95 of 100 is 0.95, but 0.887 (a textbook value) is what a sample of this size vouches for."""
    finding = clean(0.95).measure(of({CLEAN: [i >= 5 for i in range(100)]}))
    assert finding.value == 0.95
    assert finding.compared == pytest.approx(0.8872, abs=1e-4)
    assert sorted(finding.ids) == ["000", "001", "002", "003", "004"]
    assert finding.images_against == 5


def test_an_image_counts_if_it_is_right_on_all_its_rows() -> None:
    counted = of(
        {CLEAN: [True, True, False, True], FGSM: [True, False, True, True]},
        certified=[True, True, True, False],
    )
    assert WorstCase(name="w", bound=0).measure(counted).value == 0.5
    assert Certified(name="c", bound=0).measure(counted).value == 0.25, "a proof that a row refutes"
    assert Gap(name="g", bound=1).measure(counted).value == 0.25


def test_the_gap_is_judged_on_the_upper_end() -> None:
    counted = of({CLEAN: [True] * 100, FGSM: [i >= 5 for i in range(100)]})
    finding = Gap(name="gap", bound=0.1).measure(counted)
    assert finding.compared == pytest.approx(confidence_interval(5, 100)[1])


def test_a_row_that_comes_twice_or_is_missing_counts_against_the_model() -> None:
    twice = [answered({CLEAN: [True, True], FGSM: [True, True]}), answered({FGSM: [False]})]
    missing = answered({CLEAN: [True, True], FGSM: [True]})
    for rows in (Rows.concatenate(twice), missing):
        assert WorstCase(name="w", bound=0).measure(tally(rows)).value == 0.5


def test_the_worst_class_is_the_one_with_the_lowest_end() -> None:
    label = [0] * 50 + [1] * 50 + [2] * 5
    right = [True] * 50 + [i >= 10 for i in range(50)] + [True] * 5
    gate = WorstClass(name="w", bound=0.3)
    finding = gate.measure(of({CLEAN: right}, label=label))
    assert (finding.value, finding.compared) == (
        1.0,
        pytest.approx(confidence_interval(5, 5)[0]),
    ), "five images vouch for little"
    finding = gate.measure(of({CLEAN: right[:100]}, label=label[:100]))
    assert finding.value == 0.8
    assert sorted(finding.ids) == [f"{i:03}" for i in range(50, 60)]


@pytest.mark.parametrize(("losses", "wins"), [(0, 0), (1, 0), (9, 2), (30, 25), (3, 12)])
def test_the_comparison_is_the_exact_sign_test(losses: int, wins: int) -> None:
    right = [False] * losses + [True] * wins + [True] * 20
    champion = [True] * losses + [False] * wins + [True] * 20
    gate = NoWorse(name="n", argument=(CLEAN,), bound=0.025)
    finding = gate.measure(of({CLEAN: right}, {CLEAN: champion}))
    n = losses + wins
    expected = sum(math.comb(n, k) for k in range(losses, n + 1)) / 2**n
    assert finding.compared == pytest.approx(expected)
    assert finding.value == pytest.approx((wins - losses) / (n + 20))


@pytest.mark.parametrize(
    ("best", "right", "holds"),
    [("0.95", 94, True), ("0.95", 93, False), ("0.95", 95, True), ("0.9", 99, True)],
)
def test_the_loss_to_the_best_is_bounded(best: str, right: int, holds: bool) -> None:
    """A point is allowed, and the share itself is compared: a lower end would lose each time."""
    gate = Best(name="best", bound=0.01, argument=(best, "17"))
    finding = gate.measure(of({CLEAN: [i < right for i in range(100)]}))
    assert finding.value == finding.compared == pytest.approx(float(best) - right / 100)
    assert gate.holds(finding.compared) is holds
    assert finding.images_against == 100 - right
    assert (gate.images_to_change(finding) or 0) == (0 if holds else 1)
    assert "(version 17); the loss must be <= 1.00%" in finding.sentence
    assert finding.not_compared == ""


def test_small_losses_that_add_up_are_refused() -> None:
    """Each model loses 30 images and wins 22, which is not significant; the second of them lies 1.6
    points below the first that was pushed."""
    best = Best(name="best", bound=0.01, argument=("0.96", "1"))
    no_worse = NoWorse(name="n", argument=("worst_case",), bound=0.025)
    pushed, refused = answers_of(0), []
    for step in (1, 2, 3):
        now = of({CLEAN: answers_of(step)}, {CLEAN: pushed})
        assert no_worse.holds(no_worse.measure(now).compared)
        refused.append(not best.holds(best.measure(now).compared))
        pushed = answers_of(step)
    assert refused == [False, True, True]


def answers_of(step: int) -> list[bool]:
    """A model that is wrong on 40 of 1,000 images, and at each step wrong on 30 more and right on
    22 others."""
    wrong = range(22 * step, 22 * step + 40 + 8 * step)
    return [i not in wrong for i in range(1000)]


def test_without_an_earlier_worst_case_the_loss_is_not_compared_and_says_why() -> None:
    gate = Best(name="best", bound=0.01, argument=("no version was ever pushed for mnist",))
    finding = gate.measure(of({CLEAN: [False] * 30}))
    assert gate.holds(finding.compared)
    assert finding.not_compared == "no version was ever pushed for mnist"
    assert "Not compared: no version was ever pushed" in finding.sentence


def test_where_nobody_has_looked_for_the_best_the_gate_refuses() -> None:
    gate = Best(name="best", bound=0.01)
    finding = gate.measure(of({CLEAN: [True] * 30}))
    assert not gate.holds(finding.compared)
    assert "Nobody has looked" in finding.sentence


def test_rows_without_a_place_for_the_champion_refuse() -> None:
    """A pipeline without ChampionChallenge that asks for the comparison: nobody was compared."""
    rows = answered({CLEAN: [True] * 30})
    predictions = {name: column for name, column in rows.predictions.items() if name != CHAMPION}
    gate = NoWorse(name="champion_clean", argument=(CLEAN,), bound=0.025)
    finding = gate.measure(tally(dataclasses.replace(rows, predictions=predictions)))
    assert not gate.holds(finding.compared)
    assert "no place for a champion: ChampionChallenge" in finding.sentence


def test_a_champion_that_is_never_right_and_no_champion_at_all_are_beaten() -> None:
    gate = NoWorse(name="n", argument=("worst_case",), bound=0.025)
    for champion in (None, {CLEAN: [False] * 30}):
        assert gate.holds(gate.measure(of({CLEAN: [False] * 30}, champion)).compared)


def test_how_many_images_would_have_to_change() -> None:
    """With so many more right the gate holds; with one fewer it does not."""
    for gate, counted in (
        (clean(0.9), of({CLEAN: [i >= 9 for i in range(100)]})),
        (
            Gap(name="g", bound=0.1),
            of({CLEAN: [True] * 100, FGSM: [i >= 9 for i in range(100)]}),
        ),
        (
            NoWorse(name="n", argument=(CLEAN,), bound=0.025),
            of(
                {CLEAN: [i >= 12 for i in range(30)]},
                {CLEAN: [i not in (20, 21) for i in range(30)]},
            ),
        ),
    ):
        finding = gate.measure(counted)
        assert not gate.holds(finding.compared)
        needed = gate.images_to_change(finding)
        assert needed
        assert finding.if_corrected
        assert gate.holds(finding.if_corrected(needed))
        assert not gate.holds(finding.if_corrected(needed - 1))


def test_a_required_attack_that_did_not_run_is_counted() -> None:
    gate = Missing(name="r", argument=("ibp", "fgsm", "square"), bound=0)
    assert gate.measure(of({CLEAN: [True]})).compared == 1
    assert gate.measure(of({CLEAN: [True, True]}, faced="ibp,fgsm,square")).compared == 0


@pytest.mark.parametrize(
    ("passed", "failed", "judged", "word"),
    [
        ("a,b", "", 0, "passed"),
        ("a", "b", 1, "refused"),
        ("b", "b", 1, "refused"),
        ("", "", 1, "refused"),
        ("", "a", 1, "refused"),
        ("a", "", 0, "does not apply"),
    ],
)
def test_a_check_that_failed_and_checks_that_never_ran_refuse(
    passed: str, failed: str, judged: int, word: str
) -> None:
    gate = FailedCheck(name="b", argument=("b",), bound=0)
    counted = of({CLEAN: [True]}, passed=passed, failed=failed)
    assert gate.measure(counted).compared == judged
    assert explain([gate], counted)[0].word == word


def test_a_share_of_which_nothing_is_asked_is_reported() -> None:
    counted = of({CLEAN: [True] * 9})
    assert [explain([clean(bound)], counted)[0].word for bound in (0.0, 0.5, 0.9)] == [
        "reported",
        "passed",
        "refused",
    ]
    assert explain([clean(0.0)], Tally())[0].word == "refused", "nothing was measured"


def test_a_share_that_no_model_reaches_on_so_few_images_says_so() -> None:
    """29 of 29 have a lower end of 88.06 %, and it takes 36 for one of 90 %."""
    gate = clean(0.9)
    sentence = gate.measure(of({CLEAN: [True] * 29})).sentence
    assert sentence.endswith(
        "No model can pass on 29 images, whatever it answers; it takes at least 36 images."
    )
    assert "No model" not in gate.measure(of({CLEAN: [True] * 35 + [False]})).sentence
    assert not gate.holds(gate.measure(of({CLEAN: [True] * 35})).compared)
    assert gate.holds(gate.measure(of({CLEAN: [True] * 36})).compared)
    never = clean(1.0).measure(of({CLEAN: [True] * 9})).sentence
    assert never.endswith(
        "No model can pass on 9 images, whatever it answers; no number is enough."
    )


def test_a_gap_and_a_class_that_no_model_reaches_say_so() -> None:
    right = {CLEAN: [True] * 10, FGSM: [True] * 10}
    gap = Gap(name="gap", bound=0.1).measure(of(right)).sentence
    assert gap.endswith(
        "No model can pass on 10 images, whatever it answers; it takes at least 36 images."
    )
    worst = WorstClass(name="w", bound=0.6).measure(of(right)).sentence
    assert "100.00% of the 5 images of class 0, the worst," in worst
    assert worst.endswith(
        "No model can pass on 5 images, whatever it answers; it takes at least 8 images."
    )


@pytest.mark.parametrize(("images", "enough"), [(5, False), (6, True)])
def test_a_comparison_that_no_loss_could_fail_does_not_pass(images: int, enough: bool) -> None:
    """A loss of all five images has p = 0.031."""
    gate = NoWorse(name="champion_clean", argument=(CLEAN,), bound=0.025)
    right = {CLEAN: [True] * images}
    finding = gate.measure(of(right, right))
    assert gate.holds(finding.compared) == enough
    assert ("5 images are too few: a loss of all of them" in finding.sentence) != enough


@pytest.mark.parametrize("quantity", list(Gate.classes))
def test_nothing_passes_on_no_images(quantity: str) -> None:
    gate = Gate.of({"name": "g", "quantity": quantity, "bound": 0.0, "argument": ["a"]})
    finding = gate.measure(Tally())
    assert not gate.holds(finding.compared)
    assert finding.sentence == "Nothing was measured."
    assert gate.images_to_change(finding) is None


@pytest.mark.parametrize("gate", [clean(0.0), NoWorse(name="n", argument=(CLEAN,), bound=0.0)])
def test_what_could_not_be_seen_does_not_pass(gate: Gate) -> None:
    """No clean row, so nothing is known about clean images, and no bound is low enough."""
    finding = gate.measure(of({FGSM: [True] * 9}, {FGSM: [True] * 9}))
    assert not gate.holds(finding.compared)
    assert finding.sentence == "Nothing was measured."


def test_the_worst_class_is_named_with_its_own_images() -> None:
    label = [8] * 50 + [1] * 70
    right = [i >= 5 for i in range(50)] + [True] * 70
    finding = WorstClass(name="worst_class", bound=0.85).measure(of({CLEAN: right}, label=label))
    assert finding.sentence == (
        "90.00% of the 50 images of class 8, the worst, (95 % interval 78.19% to 96.67%) are right "
        "on the clean image and under every attack; the lower end must be >= 85.00%."
    )


def test_a_share_says_what_was_found_and_what_had_to_be() -> None:
    counted = of({CLEAN: [True] * 100, FGSM: [i >= 5 for i in range(100)]})
    assert Accuracy(name="fgsm", bound=0.9, argument=(FGSM,)).measure(counted).sentence == (
        "95.00% of 100 images (95 % interval 88.72% to 98.36%) are right under fgsm@robust; the "
        "lower end must be >= 90.00%."
    )
    assert Gap(name="gap", bound=0.1).measure(counted).sentence == (
        "5.00% of 100 images (95 % interval 1.64% to 11.28%) are right on the clean image and "
        "broken by an attack; the upper end must be <= 10.00%."
    )


def test_a_refusal_says_what_the_served_model_answered() -> None:
    rows = answered({CLEAN: [True] * 125})
    served = rows.predictions["robust"].copy()
    served[:2] = 9
    finding = Disagreement(name="served", bound=0.0).measure(tally(rows, served))
    assert finding.sentence.startswith(
        "The served model answers otherwise than the attacked one did on 1.60% of 125 rows"
    )


@pytest.mark.parametrize(
    ("rows", "others", "passes"),
    [(125, 1, True), (125, 2, False), (9999, 1, True), (9999, 2, False)],
)
def test_one_row_on_a_boundary_refuses_no_model(rows: int, others: int, passes: bool) -> None:
    """Below 5,000 rows a single one is more than 0.02 %; above, the share decides."""
    given = answered({CLEAN: [True] * rows})
    served = given.predictions["robust"].copy()
    served[:others] = 9
    gate = Disagreement(name="served", bound=0.0002)
    finding = gate.measure(tally(given, served))
    assert finding.value == others / rows
    assert gate.holds(finding.compared) is passes


def test_a_class_without_images_is_not_passed_over() -> None:
    """Class 1 of three has none; without names nobody knows that there are three."""
    seen = of({CLEAN: [True] * 100}, label=[0, 2] * 50)
    gate = WorstClass(name="worst_class", bound=0.5, argument=("cat", "dog", "fox"))
    finding = gate.measure(seen)
    assert not gate.holds(finding.compared)
    assert "No image shows the class 1 (dog)." in finding.sentence
    assert gate.holds(dataclasses.replace(gate, argument=()).measure(seen).compared)


def test_a_comparison_says_how_many_were_lost_and_won() -> None:
    champion = {CLEAN: [i not in (20, 21) for i in range(30)]}
    gate = NoWorse(name="champion_clean", argument=(CLEAN,), bound=0.025)
    finding = gate.measure(of({CLEAN: [i >= 12 for i in range(30)]}, champion))
    assert finding.sentence.startswith(
        "On clean images, the candidate is wrong on 12 images on which the champion is right, and "
        "right on 2 on which it is wrong; "
    )
    alone = gate.measure(of({CLEAN: [True]}))
    assert alone.sentence == "There is no champion to compare with."
    assert alone.not_compared == "there is no champion"
    assert finding.not_compared == ""


def test_a_comparison_that_could_not_be_says_why() -> None:
    gate = NoWorse(name="champion_clean", argument=(CLEAN,), bound=0.025)
    counted = of({CLEAN: [True]})
    counted.not_compared = "the champion knows other classes (cat is gone), accepted"
    finding = gate.measure(counted)
    assert gate.holds(finding.compared)
    assert finding.sentence == f"Not compared: {counted.not_compared}."
    assert finding.not_compared == counted.not_compared


def test_what_a_comparison_could_not_look_at_stands_in_its_sentence() -> None:
    gate = NoWorse(name="champion_clean", argument=(CLEAN,), bound=0.025)
    counted = of({CLEAN: [True] * 3}, {CLEAN: [True] * 3})
    counted.note = "only the number of classes was compared"
    finding = gate.measure(counted)
    assert finding.sentence.endswith(" Note: only the number of classes was compared.")
    assert finding.not_compared == ""


@pytest.mark.parametrize(
    ("names", "words"), [("", "of class 1, the worst"), ("ab", "of class 1 (b), the worst")]
)
def test_the_worst_class_has_a_name(names: str, words: str) -> None:
    gate = WorstClass(name="worst_class", bound=0.5, argument=tuple(names))
    assert f"{words}," in gate.measure(of({CLEAN: [True, False]})).sentence


def test_a_check_says_what_it_found() -> None:
    gate = FailedCheck(name="proofs_hold", argument=("proofs_hold",), bound=0)
    counted = of({CLEAN: [True]})
    assert gate.measure(counted).sentence == "No honesty check ran."
    counted.sentences = {"noise_does_not_help": "It does not."}
    assert gate.measure(counted).sentence == "It does not apply to this model."
    counted.sentences = {"proofs_hold": "All 12 do."}
    assert gate.measure(counted).sentence == "All 12 do."


def test_what_a_gate_asks() -> None:
    asked = {gate.name: gate.asks() for gate in gates(preset("robust").gates)}
    assert asked["clean"] == ">= 98.00% of the images are right without any attack"
    assert asked["worst_class"] == ">= 85.00% of each class are right under every attack"
    assert asked["gap"] == "attacks break at most 6.00% of the images"
    assert asked["required"] == "the model faced apgd-ce, apgd-t, fab-t, square"
    assert asked["proofs_hold"] == f"honesty check: {CheckName.PROOFS_HOLD.meaning}"
    assert asked["champion_clean"] == (
        "no significant loss to the model that is served without any attack "
        "(exact paired test, p >= 0.025)"
    )
    made = Accuracy(name="t", bound=0.9, argument=("fgsm@undefended",))
    assert made.asks() == (
        ">= 90.00% of the images are right under the fgsm images made against the undefended model"
    )
    assert Certified(name="certified", bound=0.0).asks() == (
        "share of the images that are proven right: reported, no threshold"
    )


def test_the_gates_can_be_written_as_json() -> None:
    every = gates(preset("robust").gates)
    text = json.dumps([gate.plain() for gate in every])
    assert json.loads(text)[0] == {
        "name": "clean",
        "quantity": "accuracy",
        "bound": 0.98,
        "op": ">=",
        "argument": ["clean"],
    }
    assert [Gate.of(plain) for plain in json.loads(text)] == every
