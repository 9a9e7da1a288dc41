"""Metrics of ours that TFMA computes: the per-example worst case over all attacks, and what is proven.

TFMA's workers import this module, so it stays light. Importing it registers the metric.
"""

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types, metric_util

from components.adversarial_example_gen.rows import CERTIFIED_BY, NO_BOUND, ROBUST

WORST_CASE_ACCURACY, CERTIFIED_ACCURACY = "worst_case_accuracy", "certified_accuracy"


class WorstCaseAccuracy(metric_types.Metric):
    """Share of images on which the model is right under every attack, the clean image included.

    Rows of the same image share the feature `id`; an image counts once, however many rows it has.
    """

    def __init__(self, name: str = WORST_CASE_ACCURACY) -> None:
        super().__init__(_worst_case, name=name)


class CertifiedAccuracy(metric_types.Metric):
    """Share of images whose prediction a bound proves right in the whole ball.

    An image counts only if the model, as it is served, is also right on all its rows: a proof that a row
    contradicts proves nothing.
    """

    def __init__(self, name: str = CERTIFIED_ACCURACY) -> None:
        super().__init__(_certified, name=name)


def _worst_case(
    name: str = WORST_CASE_ACCURACY, eval_config: Any = None, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    return _by_image(name, eval_config, model_names, None)


def _certified(
    name: str = CERTIFIED_ACCURACY, eval_config: Any = None, model_names: list[str] | None = None
) -> metric_types.MetricComputations:
    return _by_image(name, eval_config, model_names, CERTIFIED_BY + ROBUST)


def _by_image(
    name: str, eval_config: Any, model_names: list[str] | None, also: str | None
) -> metric_types.MetricComputations:
    features = ["id"] if also is None else ["id", also]
    computations = []
    for model_name in model_names or [""]:
        key = metric_types.MetricKey(name=name, model_name=model_name)
        computations.append(
            metric_types.MetricComputation(
                keys=[key],
                preprocessors=[metric_types.FeaturePreprocessor(feature_keys=features)],
                combiner=_EveryRow(key, eval_config, also),
            )
        )
    return computations


class _EveryRow(beam.CombineFn):
    """Accumulates, by id, whether the model was right on all rows so far, and `also` names a bound."""

    def __init__(self, key: metric_types.MetricKey, eval_config: Any, also: str | None) -> None:
        self._key = key
        self._eval_config = eval_config
        self._also = also

    def create_accumulator(self) -> dict[bytes, bool]:
        return {}

    def add_input(self, accumulator: dict[bytes, bool], element: Any) -> dict[bytes, bool]:
        identity = _text(element, "id")
        label, prediction, _ = next(
            metric_util.to_label_prediction_example_weight(
                element, eval_config=self._eval_config, model_name=self._key.model_name, flatten=False
            )
        )
        holds = int(np.argmax(prediction)) == int(label.ravel()[0])
        if self._also is not None:
            holds = holds and _text(element, self._also) not in (b"", NO_BOUND.encode())
        accumulator[identity] = accumulator.get(identity, True) and holds
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[bytes, bool]]) -> dict[bytes, bool]:
        merged: dict[bytes, bool] = {}
        for accumulator in accumulators:
            for identity, holds in accumulator.items():
                merged[identity] = merged.get(identity, True) and holds
        return merged

    def extract_output(self, accumulator: dict[bytes, bool]) -> dict[metric_types.MetricKey, float]:
        return {self._key: sum(accumulator.values()) / len(accumulator) if accumulator else float("nan")}


def _text(element: Any, feature: str) -> bytes:
    return bytes(np.asarray(element.features[feature]).ravel()[0])


metric_types.register_metric(WorstCaseAccuracy)
metric_types.register_metric(CertifiedAccuracy)
