"""The gates as TFMA metrics: one tally a slice, and from it the value that each gate compares with
its bound; and the accuracy on the rows of a slice.

TFMA's workers import this module, so it stays light. Importing it registers the metrics.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types

from components.evaluator.gate import Gate
from components.evaluator.outcome import ImageOutcome
from components.evaluator.tally import Tally

OUTCOME = "outcome"
"""Entry of a row's extract that holds its image's `ImageOutcome`, in one row of each image."""

RIGHT = "right"
"""Entry of a row's extract: whether the candidate is right on it."""

TALLY = "tally"
"""Name of the metric that is the tally itself, as JSON."""

ACCURACY, ROWS = "accuracy", "example_count"
"""Names of the metrics on the rows of a slice."""


class GateMetric(metric_types.Metric):
    """The value that a gate compares with its bound, on the images of a slice; its name is the
    gate's.

    An image counts in the slices of the row that carries its outcome: in the overall slice, that of
    its label, and that of its clean row. On other slices the value is not a number, and no slice
    except the overall one decides.

    gate: what `Gate.plain` gives.
    """

    def __init__(self, name: str, gate: dict[str, Any]) -> None:
        super().__init__(_computations, name=name, gate=gate)


def gates_of(eval_config: Any) -> list[Gate]:
    """The gates of an EvalConfig, in their order."""
    metrics = [metric for spec in eval_config.metrics_specs for metric in spec.metrics]
    gates = [metric for metric in metrics if metric.class_name == GateMetric.__name__]
    return [Gate.of(json.loads(metric.config)["gate"]) for metric in gates]


def _computations(name: str, gate: dict[str, Any]) -> metric_types.MetricComputations:
    counted, written, measured = map(metric_types.MetricKey, (f"_{TALLY}", TALLY, name))
    return [
        metric_types.MetricComputation(
            keys=[counted], preprocessors=[_Outcomes()], combiner=_Count(counted)
        ),
        metric_types.DerivedMetricComputation(keys=[written], result=_Write(counted, written)),
        metric_types.DerivedMetricComputation(
            keys=[measured], result=_Measure(Gate.of(gate), counted, measured)
        ),
    ]


class RowAccuracy(metric_types.Metric):
    """Share of the rows of a slice on which the candidate is right, as the gates count it, and the
    number of rows."""

    def __init__(self) -> None:
        super().__init__(_row_accuracy, name=ACCURACY)


def _row_accuracy(name: str) -> metric_types.MetricComputations:
    keys = [metric_types.MetricKey(name), metric_types.MetricKey(ROWS)]
    return [
        metric_types.MetricComputation(keys=keys, preprocessors=[_Right()], combiner=_Share(*keys))
    ]


class _Right(metric_types.Preprocessor):
    """Whether the candidate is right on a row."""

    def process(self, extracts: dict[str, Any]) -> Iterator[bool]:
        yield extracts[RIGHT]


class _Share(beam.CombineFn):
    """How many of the rows hold, and how many there are."""

    def __init__(self, share: metric_types.MetricKey, count: metric_types.MetricKey) -> None:
        self._share, self._count = share, count

    def create_accumulator(self) -> tuple[int, int]:
        return 0, 0

    def add_input(self, accumulator: tuple[int, int], element: bool) -> tuple[int, int]:
        return accumulator[0] + element, accumulator[1] + 1

    def merge_accumulators(self, accumulators: Iterable[tuple[int, int]]) -> tuple[int, int]:
        parts = list(accumulators)
        return sum(held for held, _ in parts), sum(rows for _, rows in parts)

    def extract_output(self, accumulator: tuple[int, int]) -> dict[Any, float]:
        held, rows = accumulator
        return {self._share: held / rows if rows else math.nan, self._count: float(rows)}


class _Outcomes(metric_types.Preprocessor):
    """The outcome that a row carries, if any."""

    def process(self, extracts: dict[str, Any]) -> Iterator[ImageOutcome]:
        if extracts.get(OUTCOME) is not None:
            yield extracts[OUTCOME]


class _Count(beam.CombineFn):
    """The tally of the images of a slice."""

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> Tally:
        return Tally()

    def add_input(self, accumulator: Tally, element: ImageOutcome) -> Tally:
        accumulator.add(element)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        merged = Tally()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Tally) -> dict[metric_types.MetricKey, Tally]:
        return {self._key: accumulator}


class _Write:
    """The derived metric that is the tally."""

    def __init__(self, source: metric_types.MetricKey, key: metric_types.MetricKey) -> None:
        self._source, self._key = source, key

    def __call__(self, metrics: dict[metric_types.MetricKey, Any]) -> dict[Any, bytes]:
        return {self._key: metrics[self._source].to_json().encode()}


class _Measure:
    """The derived metric that is a gate's value."""

    def __init__(
        self, gate: Gate, source: metric_types.MetricKey, key: metric_types.MetricKey
    ) -> None:
        self._gate, self._source, self._key = gate, source, key

    def __call__(self, metrics: dict[metric_types.MetricKey, Any]) -> dict[Any, float]:
        return {self._key: self._gate.measure(metrics[self._source]).compared}


metric_types.register_metric(GateMetric)
metric_types.register_metric(RowAccuracy)
