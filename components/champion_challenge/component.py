"""The ChampionChallenge node: its inputs, outputs and parameters, as TFX sees them."""

import dataclasses
import json
from typing import ClassVar

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import BaseChannel, Channel, ComponentSpec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_artifacts import Examples, Model

from components.adversarial_example_gen.config import AttackConfig
from components.champion_challenge.executor import Executor
from robustness.config import ThreatModel


class ChampionChallengeSpec(ComponentSpec):
    """See `ChampionChallenge`."""

    PARAMETERS: ClassVar = {
        "split": ExecutionParameter(type=str),
        "threat": ExecutionParameter(type=str),
        "attack": ExecutionParameter(type=str),
        "seed": ExecutionParameter(type=int),
        "code": ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        "adversarial_examples": ChannelParameter(type=Examples),
        "undefended": ChannelParameter(type=Model),
        "robust": ChannelParameter(type=Model),
        "champion": ChannelParameter(type=Model, optional=True),
    }
    OUTPUTS: ClassVar = {"challenged_examples": ChannelParameter(type=Examples)}


class ChampionChallenge(BaseBeamComponent):
    """Adds the champion to the rows of AdversarialExampleGen: its predictions on all of them, and
    the images that attacks make against it, which the candidate must stand too.

    champion: the latest blessed model; none on the first run. Where it is the candidate itself, or
    cannot be shown these images, the rows say that there is no champion. The other parameters are
    those of AdversarialExampleGen.
    """

    SPEC_CLASS = ChampionChallengeSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        adversarial_examples: BaseChannel,
        undefended: BaseChannel,
        robust: BaseChannel,
        champion: BaseChannel | None,
        split: str,
        threat: ThreatModel,
        attack: AttackConfig,
        seed: int,
        code: str = "",
    ) -> None:
        super().__init__(
            ChampionChallengeSpec(
                adversarial_examples=adversarial_examples,
                undefended=undefended,
                robust=robust,
                champion=champion,
                split=split,
                threat=json.dumps(dataclasses.asdict(threat), sort_keys=True),
                attack=json.dumps(dataclasses.asdict(attack), sort_keys=True),
                seed=seed,
                code=code,
                challenged_examples=Channel(type=Examples),
            )
        )
