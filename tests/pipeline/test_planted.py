"""No planted bad model is pushed or becomes the champion, each is refused for the right reason, and
the honest ones pass."""

import pytest
from planted import PLANTS, PlantedWorld, another_seed

from pipeline.report.run_summary import RunSummary

pytestmark = pytest.mark.planted

FEW = ("rounding front end", "random output", "not a number")
"""They touch every gate: of what is not a number, no check can tell anything."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PlantedWorld:
    return PlantedWorld(tmp_path_factory.mktemp("planted"))


def refused_by(summary: RunSummary) -> set[str]:
    return {gate.name for gate in summary.gates if gate.refuses}


@pytest.mark.few
def test_an_honest_model_is_pushed(world: PlantedWorld) -> None:
    assert refused_by(world.first) == set()
    assert world.first.serving_problems == []
    assert world.first.pushed


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.few] * (name in FEW)) for name in PLANTS]
)
def test_a_bad_model_is_refused_for_the_right_reason(name: str, world: PlantedWorld) -> None:
    plant, reasons = PLANTS[name]
    before = world.versions(), world.blessed_models()
    summary = world.run(name, plant)
    assert reasons <= refused_by(summary), refused_by(summary)
    assert not summary.blessed
    assert summary.pushed is None
    assert (world.versions(), world.blessed_models()) == before, "the champion is what it was"
    computed = {node for node, run in summary.nodes.items() if not run.cached}
    assert "Trainer.undefended" not in computed


def test_a_little_worse_is_seen_by_the_comparison_alone(world: PlantedWorld) -> None:
    name = "a little worse than the champion"
    refused = refused_by(world.run(name, PLANTS[name][0]))
    assert refused <= {"champion_clean", "champion_worst_case"}


@pytest.mark.few
def test_the_few_touch_every_gate(world: PlantedWorld) -> None:
    summaries = [world.run(name, PLANTS[name][0]) for name in FEW]
    touched = set().union(*map(refused_by, summaries))
    assert {gate.name for gate in world.first.gates} <= touched
    assert any(summary.serving_problems for summary in summaries)


def test_another_honest_model_is_pushed_and_becomes_the_champion(world: PlantedWorld) -> None:
    """The last test: bad models before it have met the first champion."""
    before = world.blessed_models()
    summary = world.run("another seed", another_seed)
    assert refused_by(summary) == set()
    assert summary.serving_problems == []
    assert summary.pushed
    assert len(world.blessed_models() - before) == 1
