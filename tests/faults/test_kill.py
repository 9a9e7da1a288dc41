"""A kill at every step of every change of production, and what must hold after it.

The invariants are in `tests/support/crash_scenarios.py`, the steps in `tests/support/steps.py`.
"""

import random
import re

import pytest
from crash_scenarios import World
from steps import KILLED

PAIRS = 5
"""Pairs of kills, the second in the command that goes on, by scenario."""

THIRD = 4
"""After so many kills the command is given a third time; always after the last ones."""

WRITES = re.compile(r"^(tf )?(write|copy) ")


pytestmark = pytest.mark.faults


def test_a_kill_before_any_step(world: World) -> None:
    wrong, last = [], len(world.steps)
    for stop, step in world.stops:
        world.begin_again()
        ended = world.do(stop=stop)
        assert ended.code == KILLED, ended.said
        thrice = stop % THIRD == 0 or stop > last - THIRD
        wrong += [f"{stop} {step}: {each}" for each in world.completed(thrice)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_a_kill_within_a_step_that_writes(world: World) -> None:
    wrong = []
    for stop, step in world.stops:
        if WRITES.search(step):
            world.begin_again()
            ended = world.do(stop=stop, torn=True)
            assert ended.code == KILLED, ended.said
            wrong += [f"{stop} {step}: {each}" for each in world.completed(thrice=False)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_command_that_goes_on_is_killed_too(world: World) -> None:
    rng, wrong = random.Random(world.scenario.name), []
    for _ in range(PAIRS):
        stops = [rng.randint(1, len(world.steps)) for _ in range(2)]
        world.begin_again()
        world.do(stop=stops[0])
        if not world.is_done() or world.scenario.repeats:
            world.do(stop=stops[1])
            wrong += [f"{stops}: {each}" for each in world.completed(thrice=False)]
    assert not wrong, "\n" + "\n".join(wrong)
