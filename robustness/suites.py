"""Suites: attacks and bounds in the order in which an evaluation runs them.

Each stage sees only the images that no earlier one has broken or proven, so the cheap ones come
first. Read without TensorFlow or NumPy.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from foundation.errors import ConfigError
from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    AttackName,
    BoundName,
    FabT,
    Fgsm,
    Pgd,
    PgdDlr,
    PgdMargin,
    Square,
    ThreatModel,
)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Images made against another model, of the name `source`, and tried on this one."""

    source: str

    @property
    def name(self) -> str:
        """`transfer:` and the source."""
        return f"transfer:{self.source}"

    def effort(self, threat: ThreatModel) -> dict[str, float]:
        """How hard the other model is attacked."""
        return TRANSFERABLE.effort(threat)


TRANSFERABLE = Pgd(steps=40)
"""How images are made that shall fool other models."""


Stage = Attack | Transfer | BoundName
"""What an evaluation runs one after the other."""


class SuiteName(StrEnum):
    """The suites that exist.

    fast: bounds and quick attacks, in minutes. autoattack: the published standard suite in full
    strength, between bounds.
    """

    FAST = "fast"
    AUTOATTACK = "autoattack"


def fast() -> tuple[Stage, ...]:
    """In minutes: bounds, quick attacks for the fragile, and stronger ones for what is left.

    Square comes last and long: on models that bounds can prove it breaks what no gradient does.
    """
    return (
        BoundName.IBP,
        Fgsm(),
        Pgd(steps=20),
        BoundName.CROWN,
        ApgdCe(steps=50),
        BoundName.ALPHA_CROWN,
        ApgdT(steps=50, targets=4),
        Square(queries=2500),
    )


def autoattack() -> tuple[Stage, ...]:
    """The published *standard* suite with its iterations and restarts (Croce & Hein 2020), between
    bounds.

    A bound comes before the first attack that costs more than it on a model that bounds can prove.
    """
    return (
        BoundName.IBP,
        ApgdCe(steps=100),
        BoundName.CROWN,
        BoundName.ALPHA_CROWN,
        ApgdT(steps=100, targets=9),
        BoundName.BRANCH_AND_BOUND,
        FabT(steps=100, targets=9),
        Square(queries=5000),
    )


SUITES: dict[SuiteName, Callable[[], tuple[Stage, ...]]] = {
    SuiteName.FAST: fast,
    SuiteName.AUTOATTACK: autoattack,
}

NAMED: dict[AttackName, Attack] = {
    attack.name: attack
    for attack in (
        Fgsm(),
        Pgd(steps=100, restarts=5),
        PgdMargin(steps=100, restarts=5),
        PgdDlr(steps=100, restarts=5),
        *(stage for stage in autoattack() if isinstance(stage, Attack)),
    )
}
"""How hard an attack tries that is asked for by its name alone, whichever suite it stands in: as
`autoattack` does, or as above."""

EFFORT = re.compile(r"(?P<name>[^:]+)(:(?P<count>[1-9]\d{0,6})(x(?P<restarts>[1-9]\d{0,3}))?)?")


def named(text: str) -> Attack:
    """The attack that a text names: `NAME`, with the effort of `NAMED`, or `NAME:COUNT` and
    `NAME:COUNTxRESTARTS`, such as pgd:100x5. COUNT: steps, of Square queries. Without RESTARTS it
    is one.

    Raises:
        ConfigError: there is no such attack, or the effort is none that it has.
    """
    if not (found := EFFORT.fullmatch(text.strip())) or found["name"] not in set(AttackName):
        raise ConfigError(
            f"unknown attack {text!r}; the attacks are {', '.join(AttackName)}, each alone or with "
            "its steps (of square: queries) and restarts, such as pgd:100x5"
        )
    attack = NAMED[AttackName(found["name"])]
    if not found["count"]:
        return attack
    if isinstance(attack, Fgsm):
        raise ConfigError(f"fgsm is one step and has no effort to choose, got {text!r}")
    count, restarts = int(found["count"]), int(found["restarts"] or 1)
    if isinstance(attack, Square):
        return Square(queries=count, restarts=restarts)
    return replace(attack, steps=count, restarts=restarts)


def shown(name: str, effort: Mapping[str, float]) -> str:
    """An attack with how hard it tried, such as `apgd-t (100 steps, 9 targets)`; its name alone
    where it took one step.

    effort: its counts by name, as `Attack.effort` records them.
    """
    counts = [
        f"{effort[what]:,.0f} {what}"
        for what in ("steps", "queries", "targets", "restarts")
        if effort.get(what, 1) > 1
    ]
    return f"{name} ({', '.join(counts)})" if counts else name


def suite(name: SuiteName, attacks: tuple[str, ...] = ()) -> tuple[Stage, ...]:
    """The stages of a suite, or its bounds with other attacks in place of its own.

    attacks: each as `named` takes it; none for the suite's own.

    Raises:
        ConfigError: an attack is unknown, or named twice.
    """
    stages = SUITES[name]()
    if not attacks:
        return stages
    chosen = tuple(map(named, attacks))
    if len({attack.name for attack in chosen}) < len(chosen):
        raise ConfigError(f"each attack is named once, got {', '.join(attacks)}")
    first, *others = bounds_of(stages)
    return (first, *chosen, *others)


def attacks_of(stages: tuple[Stage, ...]) -> tuple[Attack, ...]:
    """The attacks among the stages, in order."""
    return tuple(stage for stage in stages if isinstance(stage, Attack))


def bounds_of(stages: tuple[Stage, ...]) -> tuple[BoundName, ...]:
    """The bounds among the stages, in order."""
    return tuple(stage for stage in stages if isinstance(stage, BoundName))
