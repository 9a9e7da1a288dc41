"""The gates of a run as the Evaluator takes them."""

from tensorflow_model_analysis.proto import config_pb2

# TFX first: without it, TFMA has none of its config messages.
from tfx.types import standard_artifacts  # noqa: F401

from components.evaluator import eval_config as of_gates
from components.evaluator.asked import gates
from pipeline.definition.config import RunConfig


def eval_config(config: RunConfig, class_names: tuple[str, ...] = ()) -> config_pb2.EvalConfig:
    """What the Evaluator does in a run. class_names: see `gates`."""
    return of_gates.eval_config(gates(config.gates, class_names))
