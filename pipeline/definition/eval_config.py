"""The gates as a TFMA EvalConfig: what the Evaluator measures, and what blesses."""

import json

from tensorflow_model_analysis.proto import config_pb2

# TFX first: without it, TFMA has none of its config messages.
from tfx.types import standard_artifacts  # noqa: F401

from components.evaluator.gate import Gate, Op
from components.evaluator.metrics import GateMetric
from pipeline.definition.config import RunConfig
from pipeline.definition.gates import gates


def eval_config(config: RunConfig) -> config_pb2.EvalConfig:
    """What the Evaluator does: accuracy overall, by attack and by label, and the gates."""
    metrics = [
        config_pb2.MetricConfig(
            class_name="SparseCategoricalAccuracy", config=json.dumps({"name": "accuracy"})
        ),
        config_pb2.MetricConfig(class_name="ExampleCount"),
        *map(compiled, gates(config.gates)),
    ]
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="transformed_examples",
                prediction_key="probabilities",
                label_key="label",
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=["attack"]),
            config_pb2.SlicingSpec(feature_keys=["label"]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
        options=config_pb2.Options(include_default_metrics={"value": False}),
    )


def compiled(gate: Gate) -> config_pb2.MetricConfig:
    """The gate as a metric of TFMA with a threshold on all rows together."""
    side = "lower_bound" if gate.op is Op.AT_LEAST else "upper_bound"
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(**{side: {"value": gate.bound}})
    )
    settings = {
        "name": str(gate.name),
        "quantity": str(gate.quantity),
        "argument": list(gate.argument),
    }
    return config_pb2.MetricConfig(
        class_name=GateMetric.__name__,
        module=GateMetric.__module__,
        config=json.dumps(settings),
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(
                slicing_specs=[config_pb2.SlicingSpec()], threshold=threshold
            )
        ],
    )
