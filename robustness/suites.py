"""Suites: attacks and bounds in the order in which an evaluation runs them.

Each stage sees only the images that no earlier one has broken or proven, so the cheap ones come
first. Read without TensorFlow or NumPy.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
)


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Images made against another model, of the name `source`, and tried on this one."""

    source: str

    @property
    def name(self) -> str:
        """`transfer:` and the source."""
        return f"transfer:{self.source}"


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

UNPUBLISHED = (
    Fgsm(),
    Pgd(steps=100, restarts=5),
    PgdMargin(steps=100, restarts=5),
    PgdDlr(steps=100, restarts=5),
)
"""Effort of the attacks that are not in the published suite, when they are asked for by name."""


def suite(name: SuiteName, attacks: tuple[AttackName, ...] = ()) -> tuple[Stage, ...]:
    """The stages of a suite, or its bounds with the named attacks in place of its own.

    An attack that the suite does not contain runs with the effort of `autoattack`, or of
    `UNPUBLISHED`.

    Raises:
        ConfigError: an attack is named twice.
    """
    stages = SUITES[name]()
    if not attacks:
        return stages
    if len(set(attacks)) < len(attacks):
        raise ConfigError(f"each attack is named once, got {', '.join(attacks)}")
    known = (*UNPUBLISHED, *attacks_of(autoattack()), *attacks_of(stages))
    efforts = {attack.name: attack for attack in known}  # the suite's own come last and win
    first, *others = bounds_of(stages)
    return (first, *(efforts[attack] for attack in attacks), *others)


def attacks_of(stages: tuple[Stage, ...]) -> tuple[Attack, ...]:
    """The attacks among the stages, in order."""
    return tuple(stage for stage in stages if isinstance(stage, Attack))


def bounds_of(stages: tuple[Stage, ...]) -> tuple[BoundName, ...]:
    """The bounds among the stages, in order."""
    return tuple(stage for stage in stages if isinstance(stage, BoundName))
