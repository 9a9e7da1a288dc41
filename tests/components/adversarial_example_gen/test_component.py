"""The node as other people's pipelines make it."""

import pytest
from tfx.types import Channel
from tfx.types.standard_artifacts import Examples, Model, TransformGraph

from components.adversarial_example_gen.component import AdversarialExampleGen
from components.adversarial_example_gen.config import AttackConfig, AttackTask
from components.champion_challenge.component import ChampionChallenge
from components.evaluator.component import ExplainedEvaluator
from components.evaluator.eval_config import eval_config
from components.keys import CODE
from foundation.errors import ConfigError
from robustness.config import ThreatModel

THREAT = ThreatModel(epsilon=0.1)


def test_a_single_model_is_enough() -> None:
    model = Channel(type=Model)
    node = AdversarialExampleGen(examples=Channel(type=Examples), model=model, threat=THREAT)
    assert node.inputs.keys() == {"examples", "robust"}
    task = AttackTask(split="eval", threat=THREAT, attack=AttackConfig(), seed=0)
    assert AttackTask.of_properties(node.exec_properties) == task


def test_nodes_bring_the_key_of_their_code() -> None:
    """So that a repaired attack or gate is not hidden by the cache of other people's pipelines."""
    rows, model = Channel(type=Examples), Channel(type=Model)
    nodes = [
        AdversarialExampleGen(examples=rows, model=model, threat=THREAT),
        ChampionChallenge(adversarial_examples=rows, model=model),
        ExplainedEvaluator(examples=rows, model=model, eval_config=eval_config([])),
    ]
    keys = {node.exec_properties[CODE] for node in nodes}
    assert len(keys) == 3


def test_other_models_and_a_graph_are_inputs_too() -> None:
    """And leave no trace in nodes that do without them."""
    node = AdversarialExampleGen(
        examples=Channel(type=Examples),
        model=Channel(type=Model),
        threat=THREAT,
        others={"undefended": Channel(type=Model), "first_try": Channel(type=Model)},
        transform_graph=Channel(type=TransformGraph),
    )
    names = {"examples", "transform_graph", "robust", "undefended", "first_try"}
    assert node.inputs.keys() == names
    assert not node.spec.is_optional_input("undefended")
    assert "undefended" not in AdversarialExampleGen.SPEC_CLASS.INPUTS


@pytest.mark.parametrize("name", ["robust", "champion", "examples", "seed", "a@b", "A", ""])
def test_names_that_a_model_cannot_have(name: str) -> None:
    others = {name: Channel(type=Model)}
    with pytest.raises(ConfigError, match=r"the name of another model .*; got"):
        AdversarialExampleGen(
            examples=Channel(type=Examples), model=Channel(type=Model), threat=THREAT, others=others
        )
    if name not in ("examples", "seed"):
        with pytest.raises(ConfigError, match=r"the name of another model .*; got"):
            ChampionChallenge(
                adversarial_examples=Channel(type=Examples),
                model=Channel(type=Model),
                others=others,
            )
