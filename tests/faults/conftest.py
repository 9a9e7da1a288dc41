"""The process whose children crash, and a world of each scenario."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_scenarios import SCENARIOS, Scenario, World
from crashing import Crashes


@pytest.fixture(scope="session")
def crashes() -> Iterator[Crashes]:
    """Does cases in processes that may die."""
    crashes = Crashes()
    yield crashes
    crashes.close()


@pytest.fixture(scope="module", params=SCENARIOS, ids=str)
def world(
    request: pytest.FixtureRequest, crashes: Crashes, tmp_path_factory: pytest.TempPathFactory
) -> World:
    """The root or store of a scenario, before its change."""
    scenario: Scenario = request.param
    return World.of(scenario, Path(tmp_path_factory.mktemp(scenario.name)), crashes)
