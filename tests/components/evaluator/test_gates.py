"""Gates: what each looks at, its intervals and tests against closed forms, and that TFMA judges
them as written."""

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta
from tensorflow_model_analysis.metrics import metric_types

from components.evaluator.explanation import gates_of, sentence
from components.evaluator.gate import Finding, Gate, Op, Quantity, interval
from components.evaluator.metrics import GateMetric
from components.evaluator.table import ImageTable, RowVerdict, gather
from components.records.columns import (
    CERTIFIED_BY,
    CHAMPION,
    CLEAN,
    FAILED_CHECKS,
    JUDGED_BY,
    PASSED_CHECKS,
    PREDICTION,
    ROBUST,
)
from foundation.errors import ConfigError
from pipeline.definition.config import GatesConfig, override
from pipeline.definition.eval_config import eval_config
from pipeline.definition.gates import gates, out_of_reach
from pipeline.definition.presets import PRESETS, preset
from robustness.config import CheckName

FGSM = "fgsm@robust"


def rows(
    right: dict[str, list[bool]],
    champion: dict[str, list[bool]] | None = None,
    certified: list[bool] | None = None,
    label: list[int] | None = None,
    **more: Any,
) -> list[RowVerdict]:
    """One row an image and attack; image i has the label i % 2 unless others are given."""
    found = []
    for attack, column in right.items():
        for i, answer in enumerate(column):
            own = label[i] if label else i % 2
            beaten = -1 if champion is None else own if champion[attack][i] else 9
            row = RowVerdict(
                id=b"%03d" % i, attack=attack, label=own, right=answer, agrees=True, champion=beaten,
                certified=certified[i] if certified else False, ran="ibp,fgsm", passed="proofs_hold", failed="",
            )  # fmt: skip
            found.append(dataclasses.replace(row, **more))
    return found


def table(*args: Any, **kwargs: Any) -> ImageTable:
    return gather(rows(*args, **kwargs))


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (93, 100), (9467, 10_000)])
def test_the_interval_is_that_of_clopper_and_pearson(k: int, n: int) -> None:
    low = 0.0 if k == 0 else beta.ppf(0.025, k, n - k + 1)
    high = 1.0 if k == n else beta.ppf(0.975, k + 1, n - k)
    assert interval(k, n) == pytest.approx((low, high))


def test_a_share_is_judged_on_the_lower_end() -> None:
    """95 of 100 is 0.95, but 0.887 (a textbook value) is what a sample of this size vouches for."""
    found = Gate(name="clean", quantity=Quantity.ACCURACY, argument=(CLEAN,), bound=0.95).judge(
        table({CLEAN: [i >= 5 for i in range(100)]})
    )
    assert found.value == 0.95
    assert found.judged == pytest.approx(0.8872, abs=1e-4)
    assert found.against.tolist() == [0, 1, 2, 3, 4]


def test_an_image_counts_if_it_is_right_on_all_its_rows() -> None:
    found = table(
        {CLEAN: [True, True, False, True], FGSM: [True, False, True, True]},
        certified=[True, True, True, False],
    )
    assert Gate(name="w", quantity=Quantity.WORST_CASE, bound=0).judge(found).value == 0.5
    assert Gate(name="c", quantity=Quantity.CERTIFIED, bound=0).judge(found).value == 0.25, (
        "a proof that a row refutes"
    )
    assert Gate(name="g", quantity=Quantity.GAP, op=Op.AT_MOST, bound=1).judge(found).value == 0.25


def test_the_gap_is_judged_on_the_upper_end() -> None:
    found = Gate(name="gap", quantity=Quantity.GAP, op=Op.AT_MOST, bound=0.1).judge(
        table({CLEAN: [True] * 100, FGSM: [i >= 5 for i in range(100)]})
    )
    assert found.judged == pytest.approx(interval(5, 100)[1])


def test_a_row_that_comes_twice_or_is_missing_counts_against_the_model() -> None:
    twice = rows({CLEAN: [True, True], FGSM: [True, True]}) + rows({FGSM: [False]})
    missing = rows({CLEAN: [True, True], FGSM: [True]})
    for found in (twice, missing):
        assert (
            Gate(name="w", quantity=Quantity.WORST_CASE, bound=0).judge(gather(found)).value == 0.5
        )


def test_the_worst_class_is_the_one_with_the_lowest_end() -> None:
    label = [0] * 50 + [1] * 50 + [2] * 5
    right = [True] * 50 + [i >= 10 for i in range(50)] + [True] * 5
    found = Gate(name="w", quantity=Quantity.WORST_CLASS, bound=0).judge(
        table({CLEAN: right}, label=label)
    )
    assert (found.value, found.judged) == (1.0, pytest.approx(interval(5, 5)[0])), (
        "five images vouch for little"
    )
    found = Gate(name="w", quantity=Quantity.WORST_CLASS, bound=0).judge(
        table({CLEAN: right[:100]}, label=label[:100])
    )
    assert found.value == 0.8
    assert found.against.tolist() == list(range(50, 60))


@pytest.mark.parametrize(("losses", "wins"), [(0, 0), (1, 0), (9, 2), (30, 25), (3, 12)])
def test_the_comparison_is_the_exact_sign_test(losses: int, wins: int) -> None:
    right = [False] * losses + [True] * wins + [True] * 20
    champion = [True] * losses + [False] * wins + [True] * 20
    found = Gate(name="n", quantity=Quantity.NO_WORSE, argument=(CLEAN,), bound=0.025).judge(
        table({CLEAN: right}, {CLEAN: champion})
    )
    n = losses + wins
    expected = sum(math.comb(n, k) for k in range(losses, n + 1)) / 2**n
    assert found.judged == pytest.approx(expected)
    assert found.value == pytest.approx((wins - losses) / (n + 20))


def test_a_champion_that_is_never_right_and_no_champion_at_all_are_beaten() -> None:
    gate = Gate(name="n", quantity=Quantity.NO_WORSE, argument=("worst_case",), bound=0.025)
    for champion in (None, {CLEAN: [False] * 30}):
        assert gate.holds(gate.judge(table({CLEAN: [False] * 30}, champion)).judged)


def test_how_many_images_would_have_to_change() -> None:
    """One more than that and the gate holds; one fewer and it does not."""
    for gate, found in (
        (
            Gate(name="c", quantity=Quantity.ACCURACY, argument=(CLEAN,), bound=0.9),
            table({CLEAN: [i >= 9 for i in range(100)]}),
        ),
        (
            Gate(name="g", quantity=Quantity.GAP, op=Op.AT_MOST, bound=0.1),
            table({CLEAN: [True] * 100, FGSM: [i >= 9 for i in range(100)]}),
        ),
        (
            Gate(name="n", quantity=Quantity.NO_WORSE, argument=(CLEAN,), bound=0.025),
            table(
                {CLEAN: [i >= 12 for i in range(30)]},
                {CLEAN: [i not in (20, 21) for i in range(30)]},
            ),
        ),
    ):
        finding = gate.judge(found)
        assert not gate.holds(finding.judged)
        needed = finding.images_to_change(gate)
        assert needed
        assert finding.if_right
        assert gate.holds(finding.if_right(needed))
        assert not gate.holds(finding.if_right(needed - 1))


def test_a_required_attack_that_did_not_run_is_counted() -> None:
    gate = Gate(
        name="r",
        quantity=Quantity.MISSING,
        argument=("ibp", "fgsm", "square"),
        op=Op.AT_MOST,
        bound=0,
    )
    assert gate.judge(table({CLEAN: [True]})).judged == 1
    everything = gather(rows({CLEAN: [True, True]}, ran="ibp,fgsm,square"))
    assert gate.judge(everything).judged == 0
    half = gather(rows({CLEAN: [True]}, ran="ibp,fgsm,square") + rows({FGSM: [True]}))
    assert gate.judge(half).judged == 1, "an attack that only some of the images faced"


@pytest.mark.parametrize(
    ("passed", "failed", "judged"),
    [("a,b", "", 0), ("a", "b", 1), ("b", "b", 1), ("", "", 1), ("a", "", 0)],
)
def test_a_check_that_failed_and_checks_that_never_ran_refuse(
    passed: str, failed: str, judged: int
) -> None:
    gate = Gate(name="b", quantity=Quantity.FAILED_CHECK, argument=("b",), op=Op.AT_MOST, bound=0)
    assert gate.judge(table({CLEAN: [True]}, passed=passed, failed=failed)).judged == judged


@pytest.mark.parametrize("quantity", list(Quantity))
def test_nothing_passes_on_no_images(quantity: Quantity) -> None:
    argument = {
        Quantity.ACCURACY: (CLEAN,),
        Quantity.NO_WORSE: (CLEAN,),
        Quantity.FAILED_CHECK: ("a",),
        Quantity.MISSING: ("a",),
    }
    op = (
        Op.AT_MOST
        if quantity
        in (Quantity.GAP, Quantity.MISSING, Quantity.FAILED_CHECK, Quantity.DISAGREEMENT)
        else Op.AT_LEAST
    )
    gate = Gate(name="g", quantity=quantity, argument=argument.get(quantity, ()), op=op, bound=0.0)
    if quantity is not Quantity.NO_WORSE:  # no champion either: nothing to lose against
        assert not gate.holds(gate.judge(gather([])).judged)


def served(found: list[RowVerdict], metric: GateMetric) -> float:
    """The metric as TFMA computes it: the combiner over two parts, and the derived value."""
    inputs = [
        metric_types.StandardMetricInputs(
            label=np.asarray([row.label]),
            prediction={"probabilities": np.eye(10)[row.label if row.right else 9]},
            example_weight=np.asarray([1.0]),
            features={
                "id": np.asarray([row.id]),
                "attack": np.asarray([row.attack.encode()]),
                PREDICTION + ROBUST: np.asarray([row.label if row.right == row.agrees else 9]),
                PREDICTION + CHAMPION: np.asarray([row.champion]),
                CERTIFIED_BY + ROBUST: np.asarray([b"ibp" if row.certified else b"none"]),
                JUDGED_BY + ROBUST: np.asarray([row.ran.encode()]),
                PASSED_CHECKS: np.asarray([row.passed.encode()]),
                FAILED_CHECKS: np.asarray([row.failed.encode()]),
            },
        )
        for row in found
    ]
    gathering, judging = metric.computations(eval_config=eval_config(preset("smoke")))
    combiner, parts = gathering.combiner, []
    for part in (inputs[::2], inputs[1::2]):
        accumulator = combiner.create_accumulator()
        for element in part:
            accumulator = combiner.add_input(accumulator, element)
        parts.append(accumulator)
    ((key, value),) = judging.result(
        combiner.extract_output(combiner.merge_accumulators(parts))
    ).items()
    assert key.name == metric.name
    return float(value)


def test_tfma_judges_the_answers_of_the_served_model() -> None:
    rng = np.random.default_rng(0)
    right = {attack: (rng.random(40) < 0.8).tolist() for attack in (CLEAN, FGSM)}
    champion = {attack: (rng.random(40) < 0.7).tolist() for attack in (CLEAN, FGSM)}
    found = rows(right, champion, certified=(rng.random(40) < 0.5).tolist())
    for quantity, argument in (
        (Quantity.ACCURACY, (FGSM,)), (Quantity.WORST_CASE, ()), (Quantity.CERTIFIED, ()), (Quantity.GAP, ()),
        (Quantity.WORST_CLASS, ()), (Quantity.NO_WORSE, ("worst_case",)), (Quantity.DISAGREEMENT, ()),
    ):  # fmt: skip
        expected = (
            Gate(name="x", quantity=quantity, argument=argument, bound=0)
            .judge(gather(found))
            .judged
        )
        assert served(found, GateMetric("x", quantity, argument)) == pytest.approx(expected), (
            quantity
        )


def test_tfma_sees_a_served_model_that_answers_otherwise() -> None:
    found = rows({CLEAN: [True] * 10})
    found[3] = dataclasses.replace(found[3], agrees=False)
    assert served(found, GateMetric("served", Quantity.DISAGREEMENT)) == pytest.approx(0.1)


@pytest.mark.parametrize("right", [True, False], ids=["served-right", "attacked-right"])
def test_a_row_on_which_served_and_attacked_model_differ_is_not_right(right: bool) -> None:
    found = [
        dataclasses.replace(row, right=right, agrees=False) for row in rows({CLEAN: [True] * 10})
    ]
    assert served(found, GateMetric("clean", Quantity.ACCURACY, (CLEAN,))) == 0.0


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_evaluator_is_told_every_gate(name: str) -> None:
    config = preset(name)
    assert gates_of(eval_config(config)) == gates(config.gates)
    for metric in eval_config(config).metrics_specs[0].metrics:
        for threshold in metric.per_slice_thresholds:
            assert [
                spec.feature_keys or spec.feature_values for spec in threshold.slicing_specs
            ] == [{}], "all rows"


def test_what_is_set_becomes_a_gate() -> None:
    settings = [
        "clean=0.5",
        "white_box=0.4",
        "gap=0.3",
        "worst_class=0.2",
        "required=square,ibp",
        "checks=proofs_hold",
    ]
    found = {
        gate.name: gate
        for gate in gates(override(preset("smoke"), [f"gates.{s}" for s in settings]).gates)
    }
    assert found["clean"].bound == 0.5
    assert found["white_box"].argument == ("strongest@robust",)
    assert (found["gap"].op, found["gap"].bound) == (Op.AT_MOST, 0.3)
    assert found["required"].argument == ("square", "ibp")
    assert {name for name in found if name in set(CheckName)} == {"proofs_hold"}
    assert "champion_clean" in found
    assert not any(gate.name.startswith("champion") for gate in gates(GatesConfig(champion=0.0)))


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ([], []),
        (["gates.required=ibp,pgd"], []),
        (["gates.required=ibp,square,fab-t"], ["square, fab-t, which attack"]),
        (
            ["gates.checks=proofs_hold", "gates.required=square"],
            ["square, which attack", "honesty checks"],
        ),
    ],
)
def test_what_no_model_can_pass_is_said_before_the_run(
    settings: list[str], names: list[str]
) -> None:
    found = out_of_reach(override(preset("smoke"), settings))
    assert len(found) == len(names)
    for text, name in zip(found, names, strict=True):
        assert name in text


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_gates_of_a_preset_can_be_passed(name: str) -> None:
    assert out_of_reach(preset(name)) == []


def test_a_refusal_says_what_the_served_model_answered() -> None:
    """The table is of the recorded answers; what TFMA found is another thing."""
    gate = Gate(name="served", quantity=Quantity.DISAGREEMENT, op=Op.AT_MOST, bound=0.0)
    found = sentence(
        gate, Finding(value=0.016, judged=0.016), gather(rows({CLEAN: [True] * 10})), {}
    )
    assert found.startswith(
        "The served model answers otherwise than the attacked one did on 1.60% of 10 rows"
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("gates.gap=1.5", "gates.gap is a fraction"),
        ("gates.required=sqare", "gates.required"),
        ("gates.checks=none_such", "gates.checks"),
    ],
)
def test_wrong_settings(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(preset("smoke"), [setting])


def test_the_gates_can_be_written_as_json() -> None:
    text = json.dumps([dataclasses.asdict(gate) for gate in gates(preset("robust").gates)])
    assert json.loads(text)[0] == {
        "name": "clean",
        "quantity": "accuracy",
        "bound": 0.98,
        "op": ">=",
        "argument": ["clean"],
    }
