"""Metrics of ours that TFMA computes: the per-example worst case over all attacks.

TFMA's workers import this module, so it stays light. Importing it registers the metric.
"""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

WORST_CASE_ACCURACY = "worst_case_accuracy"


class WorstCaseAccuracy(metric_types.Metric):
    """Share of images on which the model is right under every attack, the clean image included.

    Rows of the same image share the feature `id`; an image counts once, however many rows it has.
    """

    def __init__(self, name: str = WORST_CASE_ACCURACY) -> None:
        super().__init__(_computations, name=name)


def _computations(
    name: str = WORST_CASE_ACCURACY, eval_config: Any = None, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    computations = []
    for model_name in model_names or [""]:
        key = metric_types.MetricKey(name=name, model_name=model_name)
        computations.append(
            metric_types.MetricComputation(
                keys=[key],
                preprocessors=[metric_types.FeaturePreprocessor(feature_keys=["id"])],
                combiner=_WorstCase(key, eval_config),
            )
        )
    return computations


class _WorstCase(beam.CombineFn):
    """Accumulates, by id, whether the model was right on all rows so far."""

    def __init__(self, key: metric_types.MetricKey, eval_config: Any) -> None:
        self._key = key
        self._eval_config = eval_config

    def create_accumulator(self) -> dict[bytes, bool]:
        return {}

    def add_input(self, accumulator: dict[bytes, bool], element: Any) -> dict[bytes, bool]:
        identity = bytes(np.asarray(element.features["id"]).ravel()[0])
        label, prediction, _ = next(
            metric_util.to_label_prediction_example_weight(
                element, eval_config=self._eval_config, model_name=self._key.model_name, flatten=False
            )
        )
        right = int(np.argmax(prediction)) == int(label.ravel()[0])
        accumulator[identity] = accumulator.get(identity, True) and right
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[bytes, bool]]) -> dict[bytes, bool]:
        merged: dict[bytes, bool] = {}
        for accumulator in accumulators:
            for identity, right in accumulator.items():
                merged[identity] = merged.get(identity, True) and right
        return merged

    def extract_output(self, accumulator: dict[bytes, bool]) -> dict[metric_types.MetricKey, float]:
        return {self._key: sum(accumulator.values()) / len(accumulator) if accumulator else float("nan")}


metric_types.register_metric(WorstCaseAccuracy)
