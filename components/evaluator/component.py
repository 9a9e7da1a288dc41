"""TFX's Evaluator with the executor of ours."""

from tfx.components import Evaluator
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.evaluator.executor import Executor


class ExplainedEvaluator(Evaluator):
    """Evaluates and blesses as TFX's Evaluator does, and says why."""

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
