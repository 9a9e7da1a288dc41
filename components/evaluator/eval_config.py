"""Gates as a TFMA EvalConfig: what the Evaluator measures, and what blesses; for any pipeline whose
rows AdversarialExampleGen wrote."""

import json
from collections import Counter
from collections.abc import Sequence

from tensorflow_model_analysis.proto import config_pb2

# TFX first: without it, TFMA has none of its config messages.
from tfx.types import standard_artifacts  # noqa: F401

from components.evaluator.gate import Gate, Op
from components.evaluator.metrics import ACCURACY, ROWS, TALLY, GateMetric, RowAccuracy
from components.records.names import ATTACK, LABEL
from foundation.errors import ConfigError


def eval_config(
    gates: Sequence[Gate],
    *,
    signature: str = "transformed_examples",
    prediction: str = "probabilities",
) -> config_pb2.EvalConfig:
    """What the Evaluator does: accuracy overall, by attack and by label, and the gates.

    Args:
        gates: conditions, in the order in which they are explained.
        signature: signature of the candidate's export that takes rows, serialized.
        prediction: output of that signature that holds a value for each class.

    Raises:
        ConfigError: a gate's name comes twice, or is that of another metric.
    """
    names = [ACCURACY, ROWS, TALLY, *(gate.name for gate in gates)]
    taken = [name for name, count in Counter(names).items() if count > 1]
    if taken:
        raise ConfigError(
            f"every gate has a name of its own, which is none of {ACCURACY}, {ROWS} and {TALLY}; "
            f"got {', '.join(taken)} twice"
        )
    metrics = [
        config_pb2.MetricConfig(class_name=RowAccuracy.__name__, module=RowAccuracy.__module__),
        *map(metric_of, gates),
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name=signature, prediction_key=prediction, label_key=LABEL
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=[ATTACK]),
            config_pb2.SlicingSpec(feature_keys=[LABEL]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        options=config_pb2.Options(include_default_metrics={"value": False}),
    )


def metric_of(gate: Gate) -> config_pb2.MetricConfig:
    """The gate as a metric of TFMA with a threshold on all images together."""
    side = "lower_bound" if gate.op is Op.AT_LEAST else "upper_bound"
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(**{side: {"value": gate.bound}})
    )
    everything = config_pb2.PerSliceMetricThreshold(
        slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold
    )
    return config_pb2.MetricConfig(
        class_name=GateMetric.__name__,
        module=GateMetric.__module__,
        config=json.dumps({"name": gate.name, "gate": gate.plain()}, allow_nan=False),
        per_slice_thresholds=[everything],
    )
