"""The AdversarialExampleGen node: its inputs, outputs and parameters, as TFX sees them."""

import re
from collections.abc import Mapping
from typing import ClassVar

from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.types import BaseChannel, Channel, ComponentSpec
from tfx.types.component_spec import ChannelParameter, ExecutionParameter
from tfx.types.standard_artifacts import Examples, Model, TransformGraph

from components.adversarial_example_gen.config import AttackConfig, AttackTask
from components.adversarial_example_gen.executor import Executor
from components.keys import keyed
from components.records.names import CHAMPION, ROBUST
from foundation.errors import ConfigError
from robustness.config import ThreatModel


class AdversarialExampleGenSpec(ComponentSpec):
    """See `AdversarialExampleGen`; the other models are inputs too, each under its name."""

    PARAMETERS: ClassVar = {
        "split": ExecutionParameter(type=str),
        "threat": ExecutionParameter(type=str),
        "attack": ExecutionParameter(type=str),
        "seed": ExecutionParameter(type=int),
    }
    INPUTS: ClassVar = {
        "examples": ChannelParameter(type=Examples),
        "transform_graph": ChannelParameter(type=TransformGraph, optional=True),
        ROBUST: ChannelParameter(type=Model),
    }
    OUTPUTS: ClassVar = {"adversarial_examples": ChannelParameter(type=Examples)}


class AdversarialExampleGen(BaseBeamComponent):
    """Attacks and certifies models on one split of examples; each also predicts the images made
    against the others.

    The output has the same split name; its records are those of `components.records.record.Rows`.
    In any TFX pipeline, with any Trainer, this is enough:

        AdversarialExampleGen(
            examples=example_gen.outputs["examples"],
            model=trainer.outputs["model"],
            threat=ThreatModel(norm=Norm.LINF, epsilon=0.1),
        )

    Args:
        examples: with an image and a label; see `transform_graph`.
        model: the candidate, called `robust` in the records: a SavedModel of Keras 2, or one with
            a signature from float images in [0, 1] to logits or probabilities.
        threat: norm and epsilon.
        split: whose examples are attacked.
        attack: bounds and attacks, and whether the honesty checks run.
        seed: of the attacks.
        others: more models to attack, by the names that they get in the records. Images made
            against them are shown to the candidate, as a transfer.
        transform_graph: from raw `image`, `label` and `id` to pixels in [0, 1] and labels. Without
            one, examples hold an `image`, as PNG bytes or as pixels in [0, 1], an integer `label`
            and perhaps an `id`; an image without an `id` is named by its shard and its place in
            it.

    Raises:
        ConfigError: a name of `others` is taken, or cannot be one of a column.
    """

    SPEC_CLASS = AdversarialExampleGenSpec
    EXECUTOR_SPEC = BeamExecutorSpec(Executor)

    def __init__(
        self,
        *,
        examples: BaseChannel,
        model: BaseChannel,
        threat: ThreatModel,
        split: str = "eval",
        attack: AttackConfig | None = None,
        seed: int = 0,
        others: Mapping[str, BaseChannel] | None = None,
        transform_graph: BaseChannel | None = None,
    ) -> None:
        others = others or {}
        task = AttackTask(split=split, threat=threat, attack=attack or AttackConfig(), seed=seed)
        spec = with_models(AdversarialExampleGenSpec, others)
        super().__init__(
            spec(
                examples=examples,
                transform_graph=transform_graph,
                **{ROBUST: model},
                **others,
                **task.to_properties(),
                adversarial_examples=Channel(type=Examples),
            )
        )
        keyed(self)


def with_models(
    spec: type[ComponentSpec], others: Mapping[str, BaseChannel]
) -> type[ComponentSpec]:
    """The spec of a node that gets other models than the candidate, too: an input for each.

    Raises:
        ConfigError: a name is taken, or cannot be one of a column.
    """
    taken = {*spec.INPUTS, *spec.OUTPUTS, *spec.PARAMETERS, CHAMPION}
    for name in others:
        if name in taken or not re.fullmatch("[a-z][a-z0-9_]*", name):
            raise ConfigError(
                f"the name of another model has small letters, digits and _, and is none of "
                f"{', '.join(sorted(taken))}; got {name!r}"
            )
    models = {name: ChannelParameter(type=Model) for name in others}
    return type(spec.__name__, (spec,), {"INPUTS": spec.INPUTS | models})
