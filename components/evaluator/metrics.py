"""The gates as TFMA metrics: one table of images a slice, and from it the value by which each gate
is judged.

TFMA's workers import this module, so it stays light. Importing it registers the metric.
"""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types

from components.evaluator.gate import Gate, Quantity
from components.evaluator.table import Gathering, ImageTable, RowVerdict
from components.records.columns import (
    CERTIFIED_BY,
    CHAMPION,
    FAILED_CHECKS,
    JUDGED_BY,
    NO_BOUND,
    PASSED_CHECKS,
    PREDICTION,
    ROBUST,
)

IMAGES = "_images"
"""Name of the private metric whose value is the table."""

FEATURES = (
    "id",
    "attack",
    PREDICTION + ROBUST,
    PREDICTION + CHAMPION,
    CERTIFIED_BY + ROBUST,
    JUDGED_BY + ROBUST,
    PASSED_CHECKS,
    FAILED_CHECKS,
)


class GateMetric(metric_types.Metric):
    """The value by which a gate is judged, on the images of a slice; the name is the gate's.

    A row counts as right where both are: the served model, which TFMA asks, and the network that
        was attacked.

    quantity, argument: see `components.evaluator.gate.Gate`. Not a number on a slice that lacks
        what it needs.
    """

    def __init__(self, name: str, quantity: str, argument: Iterable[str] = ()) -> None:
        super().__init__(_computations, name=name, quantity=quantity, argument=list(argument))


def _computations(
    name: str,
    quantity: str,
    argument: list[str],
    model_names: list[str] | None = None,
) -> metric_types.MetricComputations:
    gate = Gate(name=name, quantity=Quantity(quantity), argument=tuple(argument), bound=0.0)
    computations: list[Any] = []
    for model_name in model_names or [""]:
        images = metric_types.MetricKey(name=IMAGES, model_name=model_name)
        key = metric_types.MetricKey(name=name, model_name=model_name)
        features = metric_types.FeaturePreprocessor(feature_keys=list(FEATURES))
        computations += [
            metric_types.MetricComputation(
                keys=[images], preprocessors=[features], combiner=_Gather(images)
            ),
            metric_types.DerivedMetricComputation(keys=[key], result=_Judge(gate, images, key)),
        ]
    return computations


class _Judge:
    """The derived metric: from the table to the judged value."""

    def __init__(
        self, gate: Gate, images: metric_types.MetricKey, key: metric_types.MetricKey
    ) -> None:
        self._gate, self._images, self._key = gate, images, key

    def __call__(
        self, metrics: dict[metric_types.MetricKey, Any]
    ) -> dict[metric_types.MetricKey, float]:
        table: ImageTable = metrics[self._images]
        return {self._key: self._gate.judge(table).judged}


class _Gather(beam.CombineFn):
    """Gathers the rows of a slice, with the answers of the served model, to a table."""

    def __init__(self, key: metric_types.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> Gathering:
        return Gathering()

    def add_input(self, accumulator: Gathering, element: Any) -> Gathering:
        # Not TFMA's own way to labels and predictions, which costs more than all that is done with
        # them here.
        probabilities = np.asarray(element.get_predictions()["probabilities"]).ravel()
        answer = int(probabilities.argmax()) if np.isfinite(probabilities).all() else -1
        label = int(np.asarray(element.get_labels()).item())
        features = element.get_features()
        id_, attack, recorded, champion, certified_by, ran, passed, failed = (
            features[name].item() for name in FEATURES
        )
        accumulator.add(
            RowVerdict(
                id=bytes(id_),
                attack=attack.decode(),
                label=label,
                right=answer == label == int(recorded),
                agrees=answer == int(recorded),
                champion=int(champion),
                certified=certified_by not in (b"", NO_BOUND.encode()),
                ran=ran.decode(),
                passed=passed.decode(),
                failed=failed.decode(),
            )
        )
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Gathering]) -> Gathering:
        merged = Gathering()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Gathering) -> dict[metric_types.MetricKey, ImageTable]:
        return {self._key: accumulator.table()}


metric_types.register_metric(GateMetric)
