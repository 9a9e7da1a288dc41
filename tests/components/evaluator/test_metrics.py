"""The gates as TFMA computes them: outcomes of images, added up on workers, to a value a gate."""

import math

import numpy as np
import pytest
from answered import answered
from tensorflow_model_analysis.metrics import metric_types

from components.evaluator.gate import (
    Accuracy,
    Certified,
    Disagreement,
    Gap,
    Gate,
    NoWorse,
    WorstCase,
    WorstClass,
)
from components.evaluator.metrics import OUTCOME, RIGHT, TALLY, GateMetric, RowAccuracy
from components.evaluator.outcome import image_outcome, row_outcomes
from components.evaluator.tally import Tally, tally
from components.records.names import CLEAN
from components.records.record import Rows

FGSM = "fgsm@robust"


def computed(gate: Gate, rows: Rows, served: np.ndarray) -> tuple[float, Tally]:
    """The gate's value and the tally as TFMA computes them: the combiner over two parts, and the
    derived metrics."""
    images: dict[bytes, list] = {}
    for identity, row in row_outcomes(rows, served):
        images.setdefault(identity, []).append(row)
    carried = [image_outcome(identity, outcomes) for identity, outcomes in images.items()]
    extracts = [{OUTCOME: outcome} for outcome in carried] + [{OUTCOME: None}, {}]
    counting, writing, judging = GateMetric(gate.name, gate.plain()).computations()
    (outcomes,), combiner, parts = counting.preprocessors, counting.combiner, []
    for part in (extracts[::2], extracts[1::2]):
        accumulator = combiner.create_accumulator()
        for element in part:
            for outcome in outcomes.process(element):
                accumulator = combiner.add_input(accumulator, outcome)
        parts.append(accumulator)
    metrics = combiner.extract_output(combiner.merge_accumulators(parts))
    ((key, value),) = judging.result(metrics).items()
    ((_, text),) = writing.result(metrics).items()
    assert key == metric_types.MetricKey(name=gate.name)
    assert list(writing.result(metrics)) == [metric_types.MetricKey(name=TALLY)]
    return float(value), Tally.from_json(text)


@pytest.mark.parametrize(
    "gate",
    [
        Accuracy(name="x", bound=0, argument=(FGSM,)),
        WorstCase(name="x", bound=0),
        Certified(name="x", bound=0),
        Gap(name="x", bound=0),
        WorstClass(name="x", bound=0),
        NoWorse(name="x", bound=0.025, argument=("worst_case",)),
        Disagreement(name="x", bound=0),
    ],
    ids=lambda gate: gate.quantity,
)
def test_tfma_judges_the_answers_of_the_served_model(gate: Gate) -> None:
    rng = np.random.default_rng(0)
    right = {attack: (rng.random(40) < 0.8).tolist() for attack in (CLEAN, FGSM)}
    champion = {attack: (rng.random(40) < 0.7).tolist() for attack in (CLEAN, FGSM)}
    rows = answered(right, champion, (rng.random(40) < 0.5).tolist())
    expected = tally(rows)
    value, written = computed(gate, rows, rows.predictions["robust"])
    assert value == pytest.approx(gate.measure(expected).compared)
    assert written == expected


def test_tfma_sees_a_served_model_that_answers_otherwise() -> None:
    rows = answered({CLEAN: [True] * 10})
    served = rows.predictions["robust"].copy()
    served[3] = 9
    value, _ = computed(Disagreement(name="served", bound=0), rows, served)
    assert value == pytest.approx(0.1)


@pytest.mark.parametrize("right", [True, False], ids=["served-right", "attacked-right"])
def test_a_row_on_which_served_and_attacked_model_differ_is_not_right(right: bool) -> None:
    rows = answered({CLEAN: [not right] * 10})
    served = rows.label if right else (rows.label + 1) % 10
    gate = Accuracy(name="clean", bound=0, argument=(CLEAN,))
    assert computed(gate, rows, served)[0] == 0.0


def test_a_slice_without_outcomes_has_no_value() -> None:
    counting, _, judging = GateMetric("w", WorstCase(name="w", bound=0).plain()).computations()
    empty = counting.combiner.extract_output(counting.combiner.create_accumulator())
    (value,) = judging.result(empty).values()
    assert math.isnan(value)


def test_the_accuracy_on_the_rows_of_a_slice() -> None:
    (counting,) = RowAccuracy().computations()
    (right,), combiner = counting.preprocessors, counting.combiner
    parts = []
    for answers in ([True, True, False], [], [True]):
        accumulator = combiner.create_accumulator()
        for answer in answers:
            for found in right.process({RIGHT: answer}):
                accumulator = combiner.add_input(accumulator, found)
        parts.append(accumulator)
    found = combiner.extract_output(combiner.merge_accumulators(parts))
    assert {key.name: value for key, value in found.items()} == {
        "accuracy": 0.75,
        "example_count": 4.0,
    }
    nothing = combiner.extract_output(combiner.create_accumulator())
    assert math.isnan(nothing[metric_types.MetricKey(name="accuracy")])
