"""TFX's Evaluator with our executor."""

from typing import Any

from tfx.components import Evaluator
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from components.evaluator.executor import Executor
from components.keys import keyed


class ExplainedEvaluator(Evaluator):
    """Evaluates and blesses as TFX's Evaluator does, and says why.

    Its examples are rows of AdversarialExampleGen or ChampionChallenge, its EvalConfig is one of
    `components.evaluator.eval_config`, its model the candidate of the rows. Its arguments are
    those of TFX's.
    """

    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        keyed(self)
