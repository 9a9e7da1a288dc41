"""The gates: what the Evaluator measures and what decides the blessing, as a TFMA EvalConfig."""

from dataclasses import dataclass

from tensorflow_model_analysis.proto import config_pb2

# TFX first: without it, TFMA has none of its config messages.
from tfx.types import standard_artifacts  # noqa: F401

from components.adversarial_example_gen.rows import CLEAN, FGSM, UNDEFENDED, attack_column
from components.metrics import CERTIFIED_ACCURACY, WORST_CASE_ACCURACY, CertifiedAccuracy, WorstCaseAccuracy
from pipeline.config import RunConfig

ACCURACY = "accuracy"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One lower bound: a metric of the robust model on a slice (an attack, or all rows when None)."""

    name: str
    metric: str
    attack: str | None
    bound: float

    @property
    def slicing_spec(self) -> config_pb2.SlicingSpec:
        """The TFMA slice that the gate looks at."""
        return config_pb2.SlicingSpec(feature_values={"attack": self.attack} if self.attack else {})


def gates(config: RunConfig) -> list[Gate]:
    """The gates of a run, in the order in which they are shown."""
    fgsm, bounds = attack_column(FGSM, UNDEFENDED), config.gates
    return [
        Gate(name="clean", metric=ACCURACY, attack=CLEAN, bound=bounds.clean),
        Gate(name="transfer_fgsm", metric=ACCURACY, attack=fgsm, bound=bounds.transfer_fgsm),
        Gate(name="worst_case", metric=WORST_CASE_ACCURACY, attack=None, bound=bounds.worst_case),
        Gate(name="certified", metric=CERTIFIED_ACCURACY, attack=None, bound=bounds.certified),
    ]


def eval_config(config: RunConfig) -> config_pb2.EvalConfig:
    """What the Evaluator does: accuracy, worst case and what is proven, overall, by attack and by label, with
    the gates."""
    ours = {WORST_CASE_ACCURACY: WorstCaseAccuracy, CERTIFIED_ACCURACY: CertifiedAccuracy}
    metrics = {
        ACCURACY: config_pb2.MetricConfig(class_name="SparseCategoricalAccuracy", config=f'{{"name": "{ACCURACY}"}}'),
        **{n: config_pb2.MetricConfig(class_name=m.__name__, module=m.__module__) for n, m in ours.items()},
        "example_count": config_pb2.MetricConfig(class_name="ExampleCount"),
    }
    for gate in gates(config):
        threshold = config_pb2.MetricThreshold(
            value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": gate.bound})
        )
        metrics[gate.metric].per_slice_thresholds.append(
            config_pb2.PerSliceMetricThreshold(slicing_specs=[gate.slicing_spec], threshold=threshold)
        )
    return config_pb2.EvalConfig(
        model_specs=[
            config_pb2.ModelSpec(
                signature_name="transformed_examples", prediction_key="probabilities", label_key="label"
            )
        ],
        slicing_specs=[
            config_pb2.SlicingSpec(),
            config_pb2.SlicingSpec(feature_keys=["attack"]),
            config_pb2.SlicingSpec(feature_keys=["label"]),
        ],
        metrics_specs=[config_pb2.MetricsSpec(metrics=list(metrics.values()))],
        options=config_pb2.Options(include_default_metrics={"value": False}),
    )
