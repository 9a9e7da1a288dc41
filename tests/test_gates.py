"""What the Evaluator decides by: the metrics of images instead of rows, and the gates with their thresholds."""

import numpy as np
import pytest
from tensorflow_model_analysis.metrics import metric_types

from components.adversarial_example_gen.rows import CERTIFIED_BY, CLEAN, ROBUST
from components.metrics import CertifiedAccuracy, WorstCaseAccuracy
from pipeline.config import override
from pipeline.gates import eval_config, gates
from pipeline.presets import preset


def measured(metric: metric_types.Metric, rows: list[tuple[str, bool, str]]) -> float:
    """The metric over rows of (id, whether the served model is right, certified_by), combined in two parts."""
    inputs = [
        metric_types.StandardMetricInputs(
            label=np.asarray([1]),
            prediction=np.asarray([0.2, 0.8] if right else [0.8, 0.2]),
            example_weight=np.asarray([1.0]),
            features={"id": np.asarray([identity.encode()]), CERTIFIED_BY + ROBUST: np.asarray([bound.encode()])},
        )
        for identity, right, bound in rows
    ]
    (computation,) = metric.computations(eval_config=eval_config(preset("smoke")))
    combiner, parts = computation.combiner, []
    for part in (inputs[::2], inputs[1::2]):
        accumulator = combiner.create_accumulator()
        for element in part:
            accumulator = combiner.add_input(accumulator, element)
        parts.append(accumulator)
    ((key, value),) = combiner.extract_output(combiner.merge_accumulators(parts)).items()
    assert key.name == metric.name
    return float(value)


THREE_IMAGES = [("a", True, "ibp"), ("a", True, "ibp"), ("b", True, ""), ("b", True, ""), ("c", False, "")]


@pytest.mark.parametrize(
    ("rows", "worst_case", "certified"),
    [
        (THREE_IMAGES, 2 / 3, 1 / 3),
        ([(identity, True, "none") for identity in "aab"], 1.0, 0.0),
        ([("a", True, "alpha-crown"), ("a", False, "alpha-crown"), ("b", True, "crown")], 0.5, 0.5),
        ([("a", False, "ibp"), ("a", True, "ibp"), ("a", True, "ibp")], 0.0, 0.0),
    ],
    ids=["empty-and-named", "no-bound", "contradicted-by-an-attack", "contradicted-by-the-clean-row"],
)
def test_an_image_counts_if_it_holds_on_all_its_rows(
    rows: list[tuple[str, bool, str]], worst_case: float, certified: float
) -> None:
    assert measured(WorstCaseAccuracy(), rows) == pytest.approx(worst_case)
    assert measured(CertifiedAccuracy(), rows) == pytest.approx(certified)
    assert measured(CertifiedAccuracy(), rows[::-1]) == pytest.approx(certified)


def test_metrics_of_no_rows_are_not_a_number() -> None:
    assert np.isnan(measured(CertifiedAccuracy(), []))
    assert np.isnan(measured(WorstCaseAccuracy(), []))


def test_the_evaluator_is_told_every_gate() -> None:
    """With the value that was set, on the slice that the gate is about."""
    config = override(
        preset("smoke"),
        ["gates.clean=0.5", "gates.transfer_fgsm=0.4", "gates.worst_case=0.3", "gates.certified=0.25"],
    )
    found = {}
    (specs,) = eval_config(config).metrics_specs
    for metric in specs.metrics:
        for per_slice in metric.per_slice_thresholds:
            for slicing in per_slice.slicing_specs:
                bound = per_slice.threshold.value_threshold.lower_bound.value
                found[metric.class_name, slicing.feature_values.get("attack")] = bound
    assert found == {
        ("SparseCategoricalAccuracy", CLEAN): 0.5,
        ("SparseCategoricalAccuracy", "fgsm@undefended"): 0.4,
        ("WorstCaseAccuracy", None): 0.3,
        ("CertifiedAccuracy", None): 0.25,
    }
    assert [gate.name for gate in gates(config)] == ["clean", "transfer_fgsm", "worst_case", "certified"]
