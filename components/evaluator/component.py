"""TFX's Evaluator with our executor, and one more input."""

import json
from collections.abc import Sequence
from typing import ClassVar

from tensorflow_model_analysis.proto.config_pb2 import EvalConfig
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import BaseChannel, Channel
from tfx.types.component_spec import ChannelParameter
from tfx.types.standard_artifacts import Examples, ModelBlessing, ModelEvaluation
from tfx.types.standard_component_specs import EvaluatorSpec

from components.evaluator.executor import CHALLENGED, Executor
from components.keys import keyed


class ExplainedEvaluatorSpec(EvaluatorSpec):
    """See `ExplainedEvaluator`."""

    INPUTS: ClassVar = {
        **EvaluatorSpec.INPUTS,
        CHALLENGED: ChannelParameter(type=Examples, optional=True),
    }


class ExplainedEvaluator(BaseBeamComponent):
    """Evaluates and blesses as TFX's Evaluator does, and says why.

    Args:
        examples: rows of AdversarialExampleGen.
        model: the candidate of the rows.
        eval_config: one of `components.evaluator.eval_config`.
        example_splits: names of the splits to read.
        challenged_examples: of ChampionChallenge, where the gates compare with a champion.
    """

    SPEC_CLASS = ExplainedEvaluatorSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: BaseChannel,
        model: BaseChannel,
        eval_config: EvalConfig,
        example_splits: Sequence[str] = ("eval",),
        challenged_examples: BaseChannel | None = None,
    ) -> None:
        super().__init__(
            ExplainedEvaluatorSpec(
                examples=examples,
                model=model,
                eval_config=eval_config,
                example_splits=json.dumps([*example_splits], allow_nan=False),
                challenged_examples=challenged_examples,
                evaluation=Channel(type=ModelEvaluation),
                blessing=Channel(type=ModelBlessing),
            )
        )
        keyed(self)
