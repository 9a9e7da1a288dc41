"""The gates: what the Evaluator measures and what decides the blessing, as a TFMA EvalConfig."""

from dataclasses import dataclass

from tensorflow_model_analysis.proto import config_pb2

# TFX first: without it, TFMA has none of its config messages.
from tfx.types import standard_artifacts  # noqa: F401

from components.adversarial_example_gen.rows import CLEAN, UNDEFENDED, attack_column
from components.metrics import WORST_CASE_ACCURACY, WorstCaseAccuracy
from pipeline.config import RunConfig
from robustness.config import AttackName

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
    fgsm = attack_column(AttackName.FGSM, UNDEFENDED)
    found = [
        Gate(name="clean", metric=ACCURACY, attack=CLEAN, bound=config.gates.clean),
        Gate(name="worst_case", metric=WORST_CASE_ACCURACY, attack=None, bound=config.gates.worst_case),
    ]
    if AttackName.FGSM in config.attack.names:
        found.insert(1, Gate(name="transfer_fgsm", metric=ACCURACY, attack=fgsm, bound=config.gates.transfer_fgsm))
    return found


def eval_config(config: RunConfig) -> config_pb2.EvalConfig:
    """What the Evaluator does: accuracy and worst case, overall, by attack and by label, with the gates."""
    metrics = {
        ACCURACY: config_pb2.MetricConfig(class_name="SparseCategoricalAccuracy", config=f'{{"name": "{ACCURACY}"}}'),
        WORST_CASE_ACCURACY: config_pb2.MetricConfig(
            class_name=WorstCaseAccuracy.__name__, module=WorstCaseAccuracy.__module__
        ),
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
