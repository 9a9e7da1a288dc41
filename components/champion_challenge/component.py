"""The ChampionChallenge node: its inputs, outputs and parameters, as TFX sees them."""

from collections.abc import Mapping
from typing import ClassVar

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.dsl.placeholder.placeholder import Placeholder
from tfx.types import BaseChannel, Channel, ComponentSpec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_artifacts import Examples, Model

from components.adversarial_example_gen.component import with_models
from components.champion_challenge.executor import ACCEPT_CLASSES, BEST, NOT_COMPARED, Executor
from components.keys import keyed
from components.records.names import CHAMPION, ROBUST


class ChampionChallengeSpec(ComponentSpec):
    """See `ChampionChallenge`; the other models are inputs too, each under its name."""

    PARAMETERS: ClassVar = {
        CHAMPION: ExecutionParameter(type=str, optional=True),
        ACCEPT_CLASSES: ExecutionParameter(type=int, optional=True),
        NOT_COMPARED: ExecutionParameter(type=str, optional=True),
        BEST: ExecutionParameter(type=str, optional=True),
    }
    INPUTS: ClassVar = {
        "adversarial_examples": ChannelParameter(type=Examples),
        ROBUST: ChannelParameter(type=Model),
    }
    OUTPUTS: ClassVar = {"challenged_examples": ChannelParameter(type=Examples)}


class ChampionChallenge(BaseBeamComponent):
    """Adds the champion to the rows of AdversarialExampleGen: its predictions on all of them, and
    the images that the same attacks make against it, which the candidate must stand too.

    It is a node of its own so that a new champion does not have the candidate attacked again; and
    it writes all rows again, because the Evaluator reads one artifact and compares the two models
    row by row.

    Args:
        adversarial_examples: of AdversarialExampleGen, which says how to attack.
        model: the candidate.
        champion: folder of the version that is served, or the answer of Champion; '' on the first
            run. Where it is the candidate itself, or takes other images, the two are not compared,
            and `rivalry.json` beside the rows says why.
        accept_classes: the same for a champion that knows other classes, which is an error
            otherwise.
        not_compared, best: what else Champion answers: why there is no champion although a version
            is served, and the best worst case of the purpose, for the gate `Best`.
        others: the other models that were attacked, by name.

    Raises:
        ConfigError: a name of `others` is taken, or cannot be one of a column.
    """

    SPEC_CLASS = ChampionChallengeSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        adversarial_examples: BaseChannel,
        model: BaseChannel,
        champion: str | Placeholder = "",
        accept_classes: bool = False,
        not_compared: str | Placeholder = "",
        best: str | Placeholder = "",
        others: Mapping[str, BaseChannel] | None = None,
    ) -> None:
        others = others or {}
        spec = with_models(ChampionChallengeSpec, others)
        super().__init__(
            spec(
                adversarial_examples=adversarial_examples,
                champion=champion,
                accept_classes=int(accept_classes),
                not_compared=not_compared,
                best=best,
                **{ROBUST: model},
                **others,
                challenged_examples=Channel(type=Examples),
            )
        )
        keyed(self)
