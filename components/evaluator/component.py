"""TFX's Evaluator with our executor."""

from tfx.components import Evaluator
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.evaluator.executor import Executor


class ExplainedEvaluator(Evaluator):
    """Evaluates and blesses as TFX's Evaluator does, and says why.

    Its examples are rows of AdversarialExampleGen or ChampionChallenge, its EvalConfig is one of
    `components.evaluator.eval_config`, its model the candidate of the rows.
    """

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)
