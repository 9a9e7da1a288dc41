"""Changes of production that are interrupted, and what must hold of their roots at any time."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crash_world import (
    REFUSED,
    State,
    bless,
    look,
    new_root,
    push,
    restore,
    rollback,
    rollback_in_store,
    whole_versions,
)
from crashing import Case, Crashes, Ended

WRONG_USAGE = 2

TELLING = re.compile(r"metadata|rename|journal|fsync /serving$")
"""Steps that others can see."""


@dataclass(frozen=True)
class Scenario:
    """A change of production.

    pushed: runs that were pushed before. before: what was done after that. do: the change, and its
    arguments. serves: run that is served at the end. in_force: runs whose blessings are, then.
    repeats: whether the same command once more asks for the same; a rollback without a version goes
    back further. every: of how many steps that only prepare files one is tried.
    """

    name: str
    pushed: tuple[str, ...]
    do: Callable[..., None]
    arguments: dict[str, Any]
    serves: str
    in_force: frozenset[str]
    before: tuple[Callable[[Path], None], ...] = ()
    repeats: bool = True
    every: int = 1

    def __str__(self) -> str:
        return self.name


def _forced(folder: Path) -> None:
    bless(folder, REFUSED)


def _back(folder: Path) -> None:
    rollback(folder)


def _runs(*numbers: int) -> frozenset[str]:
    return frozenset(f"run-{number}" for number in numbers)


BOTH = ("run-1", "run-2")
SCENARIOS = (
    Scenario("first-push", (), push, {"run": "run-1"}, "run-1", _runs(1, 2, 4)),
    Scenario("push", BOTH, push, {"run": "run-4"}, "run-4", _runs(1, 2, 4)),
    Scenario("rollback", BOTH, rollback, {}, "run-1", _runs(1), repeats=False),
    Scenario("rollback-to", BOTH, rollback, {"to": "run-1"}, "run-1", _runs(1), every=3),
    Scenario(
        "forward-again",
        BOTH,
        rollback,
        {"to": "run-2"},
        "run-2",
        _runs(1, 2),
        before=(_back,),
        every=3,
    ),
    Scenario("bless", BOTH, bless, {"run": REFUSED}, REFUSED, _runs(1, 2, 3, 4)),
    Scenario(
        "rollback-from-forced",
        BOTH,
        rollback,
        {},
        "run-2",
        _runs(1, 2),
        before=(_forced,),
        repeats=False,
        every=3,
    ),
    Scenario(
        "rollback-in-store",
        BOTH,
        rollback_in_store,
        {},
        "run-1",
        _runs(1, 2, 4),
        repeats=False,
        every=3,
    ),
)


@dataclass(frozen=True)
class World:
    """A scenario in its root, which was done once without a crash.

    template: copy of the root before it. steps: of the whole change. before, after: states.
    """

    scenario: Scenario
    template: Path
    folder: Path
    crashes: Crashes
    before: State
    after: State
    steps: tuple[str, ...]

    @classmethod
    def of(cls, scenario: Scenario, base: Path, crashes: Crashes) -> "World":
        """Build the root in a folder, and do the change."""
        template, folder = base / "template", base / "root"
        new_root(folder, scenario.pushed)
        for change in scenario.before:
            change(folder)
        folder.rename(template)
        restore(template, folder)
        before = look(folder)
        ended = crashes(cls.case(scenario, folder))
        assert ended.code == 0, ended.said
        return cls(scenario, template, folder, crashes, before, look(folder), ended.steps)

    @staticmethod
    def case(scenario: Scenario, folder: Path, **more: Any) -> Case:
        """The change, to be done or begun."""
        function = f"crash_world:{scenario.do.__name__}"
        return Case(function=function, folder=folder, arguments=scenario.arguments, **more)

    @property
    def stops(self) -> list[tuple[int, str]]:
        """The steps that are tried, by their numbers."""
        numbered = list(enumerate(self.steps, start=1))
        every = self.scenario.every
        return [(n, step) for n, step in numbered if n % every == 0 or TELLING.search(step)]

    def begin_again(self) -> None:
        """The root as it was before the change."""
        restore(self.template, self.folder)

    def do(self, **more: Any) -> Ended:
        """Do the change, or begin it; see `Case`."""
        return self.crashes(self.case(self.scenario, self.folder, **more))

    def is_done(self) -> bool:
        """Whether the change has happened, whatever else it would have tidied up."""
        now = look(self.folder)
        return (now.served, now.blessings) == (self.after.served, self.after.blessings)

    def save(self) -> Path:
        """A copy of the root as it is now."""
        saved = self.folder.with_name("saved")
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(self.folder, saved, symlinks=True)
        return saved

    def completed(self, thrice: bool) -> list[str]:
        """What goes wrong where a command was interrupted, and is given again, perhaps thrice."""
        wrong, done, repeats = self.broken(), self.is_done(), self.scenario.repeats
        if not done or repeats:
            wrong += self._repeated((0, WRONG_USAGE) if done else (0,))
            wrong += self.broken() + self.unfinished()
        if thrice and repeats:
            before = look(self.folder)
            wrong += self._repeated((0, WRONG_USAGE))
            if look(self.folder) != before:
                wrong.append("once more changes something")
        return wrong

    def _repeated(self, codes: tuple[int, ...]) -> list[str]:
        ended = self.do()
        return [] if ended.code in codes else [f"exit code {ended.code}: {ended.said}"]

    def broken(self) -> list[str]:
        """What does not hold of the root, which must at any time."""
        now, before, after = look(self.folder), self.before, self.after
        wrong = whole_versions(self.folder)
        for name, digest in before.files.items():
            if name.split("/")[0] in before.versions and now.files.get(name) != digest:
                wrong.append(f"{name} was changed")
        new = set(now.versions) - set(before.versions)
        if len(new) > 1:
            wrong.append(f"two new versions: {sorted(new)}")
        if now.served not in (before.served, after.served):
            wrong.append(f"{now.served or 'nothing'} is served")
        if now.blessings not in (before.blessings, after.blessings):
            wrong.append(f"blessings are by halves: {now.blessings}")
        if now.served and not self._may_be_served(now):
            wrong.append(f"{now.served} is served, and not blessed: {now.blessings}")
        return wrong

    def _may_be_served(self, now: State) -> bool:
        """A served model is blessed, perhaps by force. While a rollback is under way the metadata
        are ahead: the one that it leaves is not blessed any more."""
        going = now.served == self.before.served and now.blessings == self.after.blessings
        return now.blessings[now.served].in_force or going

    def unfinished(self) -> list[str]:
        """What else does not hold, which must when the change was completed."""
        now, after = look(self.folder), self.after
        wrong = []
        if now.served != after.served:
            wrong.append(f"{now.served or 'nothing'} is served, and not {after.served}")
        if now.blessings != after.blessings:
            wrong.append(f"blessings are {now.blessings}")
        if now.in_force != self.scenario.in_force:
            wrong.append(f"in force are the blessings of {sorted(now.in_force)}")
        if len(now.versions) != len(after.versions):
            wrong.append(f"versions are {now.versions}")
        left = set(now.others) - set(after.others)
        return wrong + [f"{name} is left" for name in sorted(left)]
