"""Suites: attacks and bounds in the order in which an evaluation runs them. Read without
TensorFlow.

Each stage sees only the images that no earlier one has broken or proven, so the cheap ones come
first.
"""

from collections.abc import Callable
from enum import StrEnum

from foundation.errors import ConfigError
from robustness.config import Attack, AttackName, BoundName

Stage = Attack | BoundName


class SuiteName(StrEnum):
    """The suites that exist."""

    FAST = "fast"
    AUTOATTACK = "autoattack"


def fast() -> tuple[Stage, ...]:
    """What a pipeline run affords: bounds, quick attacks for the fragile, and the strong ones for
    what is left.

    Square comes last and long: on models that bounds can prove it breaks what no gradient does.
    """
    return (
        BoundName.IBP,
        Attack(name=AttackName.FGSM),
        Attack(name=AttackName.PGD, steps=20),
        BoundName.CROWN,
        Attack(name=AttackName.APGD_CE, steps=50),
        BoundName.ALPHA_CROWN,
        Attack(name=AttackName.APGD_T, steps=50, targets=4),
        Attack(name=AttackName.SQUARE, steps=2500),
    )


def autoattack() -> tuple[Stage, ...]:
    """The published *standard* suite with its iterations and restarts (Croce & Hein 2020), between
    bounds.

    A bound comes before the first attack that costs more than it on a model that bounds can prove.
    """
    return (
        BoundName.IBP,
        Attack(name=AttackName.APGD_CE, steps=100),
        BoundName.CROWN,
        BoundName.ALPHA_CROWN,
        Attack(name=AttackName.APGD_T, steps=100, targets=9),
        BoundName.BRANCH_AND_BOUND,
        Attack(name=AttackName.FAB_T, steps=100, targets=9),
        Attack(name=AttackName.SQUARE, steps=5000),
    )


SUITES: dict[SuiteName, Callable[[], tuple[Stage, ...]]] = {
    SuiteName.FAST: fast,
    SuiteName.AUTOATTACK: autoattack,
}

DEFAULTS = {
    AttackName.FGSM: Attack(name=AttackName.FGSM),
    AttackName.PGD: Attack(name=AttackName.PGD, steps=100, restarts=5),
    AttackName.PGD_MARGIN: Attack(name=AttackName.PGD_MARGIN, steps=100, restarts=5),
    AttackName.PGD_DLR: Attack(name=AttackName.PGD_DLR, steps=100, restarts=5),
}
"""Effort of the attacks that are not in the published suite, when they are asked for by name."""


def suite(name: SuiteName, attacks: tuple[AttackName, ...] = ()) -> tuple[Stage, ...]:
    """The stages of a suite, or its bounds with the named attacks in place of its own.

    An attack that the suite does not contain runs with the effort of `autoattack`, or of
    `DEFAULTS`.

    Raises:
        ConfigError: an attack is named twice.
    """
    stages = SUITES[name]()
    if not attacks:
        return stages
    if len(set(attacks)) < len(attacks):
        raise ConfigError(f"each attack is named once, got {', '.join(attacks)}")
    known = DEFAULTS | {
        stage.name: stage for stage in (*autoattack(), *stages) if isinstance(stage, Attack)
    }
    first, *dearer = (stage for stage in stages if isinstance(stage, BoundName))
    return (first, *(known[attack] for attack in attacks), *dearer)


def attacks_of(stages: tuple[Stage, ...]) -> tuple[Attack, ...]:
    """The attacks among the stages, in order."""
    return tuple(stage for stage in stages if isinstance(stage, Attack))


def bounds_of(stages: tuple[Stage, ...]) -> tuple[BoundName, ...]:
    """The bounds among the stages, in order."""
    return tuple(stage for stage in stages if isinstance(stage, BoundName))
