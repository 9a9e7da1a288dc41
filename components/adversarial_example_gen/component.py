"""The AdversarialExampleGen node: its inputs, outputs and parameters, as TFX sees them."""

import dataclasses
import json
from typing import ClassVar

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import BaseChannel, Channel, ComponentSpec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_artifacts import Examples, Model, TransformGraph

from components.adversarial_example_gen.config import AttackConfig
from components.adversarial_example_gen.executor import Executor
from robustness.config import ThreatModel


class AdversarialExampleGenSpec(ComponentSpec):
    """See `AdversarialExampleGen`."""

    PARAMETERS: ClassVar = {
        "split": ExecutionParameter(type=str),
        "threat": ExecutionParameter(type=str),
        "attack": ExecutionParameter(type=str),
        "seed": ExecutionParameter(type=int),
        "code": ExecutionParameter(type=str),
    }
    INPUTS: ClassVar = {
        "examples": ChannelParameter(type=Examples),
        "transform_graph": ChannelParameter(type=TransformGraph),
        "undefended": ChannelParameter(type=Model),
        "robust": ChannelParameter(type=Model),
    }
    OUTPUTS: ClassVar = {"adversarial_examples": ChannelParameter(type=Examples)}


class AdversarialExampleGen(BaseBeamComponent):
    """Attacks and certifies both models on one split; each also predicts the images made against
    the other.

    `code` is the hash of the code that runs; it tells TFX's cache of edits. The output has the same
    split name; its records are `components.records.rows.Row`.
    """

    SPEC_CLASS = AdversarialExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: BaseChannel,
        transform_graph: BaseChannel,
        undefended: BaseChannel,
        robust: BaseChannel,
        split: str,
        threat: ThreatModel,
        attack: AttackConfig,
        seed: int,
        code: str = "",
    ) -> None:
        super().__init__(
            AdversarialExampleGenSpec(
                examples=examples,
                transform_graph=transform_graph,
                undefended=undefended,
                robust=robust,
                split=split,
                threat=json.dumps(dataclasses.asdict(threat), sort_keys=True),
                attack=json.dumps(dataclasses.asdict(attack), sort_keys=True),
                seed=seed,
                code=code,
                adversarial_examples=Channel(type=Examples),
            )
        )
