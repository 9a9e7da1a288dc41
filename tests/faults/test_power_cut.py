"""A power cut at every step of every change of production: what was not synced is lost.

See `tests/support/disk.py` for what a file system promises.
"""

import re

import pytest
from crash_scenarios import World
from crash_world import lay, restore
from disk import Cut, Tree

RANDOM = re.compile(r"[0-9a-f]{32}|\d{10,}")
"""In names: of what is being prepared, and the time."""


pytestmark = pytest.mark.faults


def test_a_power_cut_at_any_step(world: World) -> None:
    wrong, seen = [], set()
    for stop, step in world.stops:
        world.begin_again()
        trees = world.do(stop=stop, cuts=True).trees
        saved, done = world.save(), world.is_done()
        for cut, tree in trees.items():
            if (known := (shape(tree), done)) in seen:
                continue
            seen.add(known)
            restore(saved, world.folder)
            lay(tree, world.folder)
            wrong += [f"{stop} {step}, {cut}: {each}" for each in world.completed(thrice=False)]
    assert not wrong, "\n" + "\n".join(wrong)


def shape(tree: Tree) -> frozenset[tuple[str, int]]:
    """What makes a leftover another one: names, without the random ones, and sizes."""
    return frozenset(
        (RANDOM.sub("*", path), -1 if content is None else len(content))
        for path, content in tree.items()
    )


@pytest.mark.parametrize("cut", Cut)
def test_a_change_that_ended_well_is_on_the_disk(world: World, cut: Cut) -> None:
    world.begin_again()
    ended = world.do(cuts=True)
    assert ended.code == 0
    lay(ended.trees[cut], world.folder)
    assert world.broken() + world.unfinished() == []
