"""No planted bad model is pushed, each is refused for the right reason, and the honest ones
pass."""

from pathlib import Path

import pytest
from planted import PLANTS, PlantedWorld, judge_and_push, planted_world

pytestmark = [pytest.mark.planted, pytest.mark.usefixtures("in_memory_beam")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PlantedWorld:
    with pytest.MonkeyPatch.context() as monkeypatch:
        from apache_beam.options.pipeline_options import StandardOptions

        monkeypatch.setattr(StandardOptions, "DEFAULT_RUNNER", "FnApiRunner")
        return planted_world(tmp_path_factory.mktemp("planted"))


@pytest.mark.parametrize("name", list(PLANTS))
def test_a_bad_model_is_refused_for_the_right_reason(
    name: str, world: PlantedWorld, tmp_path: Path
) -> None:
    make, reasons = PLANTS[name]
    found = judge_and_push(world, make(world, tmp_path / "model"), world.models["robust"], tmp_path)
    assert reasons <= found["refused_by"], found["refused_by"]
    assert not found["pushed"]


@pytest.mark.parametrize("name", ["robust", "another seed"])
def test_an_honest_model_is_pushed(name: str, world: PlantedWorld, tmp_path: Path) -> None:
    champion = world.models["robust"] if name == "another seed" else None
    found = judge_and_push(world, world.models[name], champion, tmp_path)
    assert found["refused_by"] == set()
    assert found["problems"] == []
    assert found["pushed"]
