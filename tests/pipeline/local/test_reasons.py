"""Which settings are named as the reason why a node runs again."""

from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.orchestration.pipeline import Pipeline

from pipeline.definition.config import RunConfig, override
from pipeline.definition.dag import Places, create_pipeline
from pipeline.definition.presets import preset
from pipeline.local.reasons import Reasons, variants

PLACES = Places(pipeline_root="root", serving="serving", spans="spans", checkpoints="checkpoints")
THEN = preset("smoke")


def build(config: RunConfig) -> Pipeline:
    return create_pipeline(config, PLACES, [])


def reasons(*settings: str, then: RunConfig | None = THEN) -> Reasons:
    return Reasons(override(THEN, settings), build, lambda run_id: then)


def values(**given: Any) -> dict[str, mlmd.Value]:
    return {name: mlmd.Value(string_value=value) for name, value in given.items()}


def why(found: Reasons, node: str, before: dict[str, Any], now: dict[str, Any]) -> str:
    return found.of(node, "run-1", values(**before), values(**now))


@pytest.mark.parametrize(
    ("settings", "node", "named"),
    [
        (["trainer.epochs=3"], "Trainer.robust", "trainer.epochs is 3, was 2"),
        (["threat.epsilon=0.1"], "AdversarialExampleGen", "threat.epsilon is 0.1, was 0.2"),
        (["gates.worst_case=0.5"], "Evaluator", "gates.worst_case is 0.5, was 0.0"),
        (["seed=3"], "Trainer.undefended", "seed is 3, was 0"),
        (["data.test=test[:400]"], "TfdsExampleGen", "data.test is test[:400], was test[:500]"),
        (["recipe.name=trades"], "Trainer.robust", "recipe.name is trades, was tutorial"),
        (
            ["trainer.epochs=3", "gates.worst_case=0.5"],
            "Trainer.robust",
            "trainer.epochs is 3, was 2",
        ),
        (
            ["trainer.epochs=3", "seed=1"],
            "Trainer.robust",
            "seed is 1, was 0; trainer.epochs is 3, was 2",
        ),
        (["attack.checks=true"], "Trainer.robust", "its parameters changed: p"),
    ],
)
def test_the_settings_that_a_node_depends_on_are_named(
    settings: list[str], node: str, named: str
) -> None:
    assert why(reasons(*settings), node, {"p": "1"}, {"p": "2"}) == named


@pytest.mark.parametrize(
    ("node", "before", "now", "named"),
    [
        ("Evaluator", {"code": "a"}, {"code": "b"}, "the code that it runs changed"),
        (
            "Trainer.robust",
            {"custom_config": '{"task": {"code": "a", "seed": 0}}'},
            {"custom_config": '{"task": {"code": "b", "seed": 0}}'},
            "the code that it runs changed",
        ),
        ("TfdsExampleGen", {"fingerprint": "a"}, {"fingerprint": "b"}, "the data changed"),
        (
            "Champion",
            {"seen": "a"},
            {"seen": "b"},
            "other versions or terms are there than last time",
        ),
        (
            "Pusher",
            {"custom_config": '{"run_id": "1"}'},
            {"custom_config": '{"run_id": "2"}'},
            "it looks at what is served, in every run",
        ),
        ("AnomalyGate", {"stop": "1"}, {}, "--anyway, now or last time"),
        ("Pusher", {}, {"champion": "serving/1"}, "another model is served"),
        ("Node", {"strange": "[[1]]"}, {"strange": "[[2]]"}, "its parameters changed: 0"),
        ("Node", {"same": "x"}, {"same": "x"}, ""),
    ],
)
def test_what_no_setting_decides(
    node: str, before: dict[str, str], now: dict[str, str], named: str
) -> None:
    assert why(reasons(), node, before, now) == named


def test_without_the_configuration_of_before_the_parameters_are_named() -> None:
    found = reasons("trainer.epochs=3", then=None)
    before, now = {"config": '{"epochs": 2}'}, {"config": '{"epochs": 3}'}
    assert why(found, "Trainer.robust", before, now) == "its parameters changed: epochs"


def test_settings_are_changed_one_by_one() -> None:
    now = override(THEN, ["trainer.epochs=3", "seed=1", "recipe.name=trades"])
    changed = dict(variants(THEN, now))
    assert set(changed) == {"trainer.epochs", "seed", "recipe.name"}
    assert changed["seed"] == override(THEN, ["seed=1"])
