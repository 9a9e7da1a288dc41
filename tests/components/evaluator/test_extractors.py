"""Rows on their way to the gates: together by image, without pixels, and with all that other
metrics need."""

import dataclasses
from typing import Any

import apache_beam as beam
import numpy as np
from answered import answered
from apache_beam.testing.util import assert_that

from components.evaluator.eval_config import eval_config
from components.evaluator.extractors import BUCKETS, ByImage, packed_rows, served
from components.evaluator.metrics import OUTCOME, RIGHT
from components.evaluator.outcome import ImageOutcome
from components.evaluator.tally import Tally, tally
from components.records.names import CLEAN
from components.records.record import Rows

FGSM = "fgsm@robust"
CONFIG = eval_config([])


def batch(rows: Rows, outputs: np.ndarray | None = None) -> dict[str, Any]:
    """A batch of rows as TFMA has it after it has asked the model."""
    images = np.zeros((len(rows), 4, 4, 1), np.float32)
    example = dataclasses.replace(rows, image=images)
    features = {name: encoded(column) for name, column in example._columns().items()}
    probabilities = np.eye(10, dtype=np.float32)[rows.predictions["robust"]]
    return {
        "features": features | {"image": images.reshape(len(rows), -1)},
        "labels": rows.label.reshape(-1, 1),
        "predictions": {
            "probabilities": probabilities if outputs is None else outputs,
            "logits": probabilities,
        },
        "example_weights": None,
        "input": np.array([b"x" * 1000] * len(rows), object),
    }


def encoded(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind != "O":
        return column.reshape(-1, 1)
    values = [value.encode() if isinstance(value, str) else value for value in column]
    return np.array(values, object).reshape(-1, 1)


def rows() -> Rows:
    right = {CLEAN: [True, True, False], FGSM: [True, False, True]}
    return answered(right, {CLEAN: [True] * 3, FGSM: [False] * 3}, certified=[True, False, False])


def test_one_row_of_each_image_carries_the_outcome_of_all() -> None:
    every = rows()
    order = np.random.default_rng(0).permutation(len(every))

    def check(extracts: list[dict[str, Any]]) -> None:
        assert len(extracts) == 6
        carried = [extract for extract in extracts if extract[OUTCOME] is not None]
        assert [extract["features"]["attack"].item() for extract in carried] == [b"clean"] * 3
        counted = Tally()
        for extract in carried:
            assert isinstance(extract[OUTCOME], ImageOutcome)
            assert extract[OUTCOME].facts, "checks count in the slice of every label"
            counted.add(extract[OUTCOME])
        assert counted == tally(every)

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        batches = [batch(every[part]) for part in np.array_split(order, 2)]
        assert_that(pipeline | beam.Create(batches) | ByImage(CONFIG), check)


def test_a_row_keeps_what_slices_and_gates_need() -> None:
    def check(extracts: list[dict[str, Any]]) -> None:
        right = {}
        for extract in extracts:
            assert set(extract) == {"features", OUTCOME, RIGHT}
            assert set(extract["features"]) == {"attack", "label"}, "no pixels"
            assert extract["features"]["label"].dtype == np.int64
            attack = extract["features"]["attack"].item()
            right[attack] = right.get(attack, 0) + extract[RIGHT]
        assert right == {b"clean": 2, FGSM.encode(): 2}

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create([batch(rows())]) | ByImage(CONFIG), check)


def test_other_metrics_and_slices_find_what_they_need() -> None:
    config = eval_config([])
    config.metrics_specs[0].metrics.add(class_name="ExampleCount")
    config.slicing_specs.add(feature_keys=["epsilon"])
    config.slicing_specs.add(feature_values={"seed": "0"})

    def check(extracts: list[dict[str, Any]]) -> None:
        for extract in extracts:
            assert set(extract) == {
                "features", "labels", "predictions", "example_weights", OUTCOME, RIGHT,
            }  # fmt: skip
            assert set(extract["features"]) == {"attack", "label", "epsilon", "seed"}, "no pixels"
            assert extract["labels"].dtype == np.int64
            assert extract["labels"].shape == (1,)
            assert extract["predictions"]["probabilities"].shape == (10,)
            assert extract["predictions"]["probabilities"].dtype == np.float32

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create([batch(rows())]) | ByImage(config), check)


def test_rows_are_small_on_their_way() -> None:
    """Runners may keep all of them in memory. Names of honesty checks are long, and alike."""
    checks = ",".join(["proofs_hold"] * 30)
    many = answered({CLEAN: [True] * 500, FGSM: [True] * 500}, passed=checks)
    packed = list(packed_rows(batch(many), CONFIG))
    assert len(packed) <= BUCKETS
    assert sum(len(content) for _, content in packed) < 40 * len(many)


def test_an_output_that_is_not_finite_is_no_answer() -> None:
    outputs = np.eye(10, dtype=np.float32)[[3, 4, 5]]
    outputs[1, 7] = np.nan
    found = served(batch(rows()[:3], outputs), CONFIG)
    assert found.tolist() == [3, -1, 5]
