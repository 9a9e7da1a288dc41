"""Threat models, attacks, bounds and checks as plain data, read without TensorFlow or NumPy.

The command line and the configuration of the pipeline take their choices from here. Pixels live in
[0, 1] and epsilon is in the same unit.
"""

import math
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import ClassVar

from foundation.errors import ConfigError
from foundation.ranges import NotNegative, check_ranges

PGD_REACH = 2.5
"""Length of all steps of PGD together, over the radius: an iterate can get from any point of the
ball to any other (Madry et al. 2018)."""


class Norm(StrEnum):
    """The norm that measures a perturbation over all pixels of one image."""

    LINF = "linf"
    L2 = "l2"


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """All images within `epsilon` of the original in `norm`, intersected with [0, 1].

    norm: how the size of a perturbation is measured. epsilon: radius of the ball in which an
    attacker may move an image, in the unit of a pixel in [0, 1].

    Raises:
        ConfigError: there is no such norm, epsilon is negative or not finite, or above 1 in
            L-infinity, where every image can become every other.
    """

    norm: Norm = Norm.LINF
    epsilon: NotNegative = 0.2

    def __post_init__(self) -> None:
        if self.norm not in set(Norm):
            raise ConfigError(f"norm is one of {', '.join(Norm)}, got {self.norm!r}")
        object.__setattr__(self, "norm", Norm(self.norm))  # its name is as good
        check_ranges(self)
        if self.norm is Norm.LINF and self.epsilon > 1.0:
            raise ConfigError(
                f"epsilon is in the unit of a pixel in [0, 1], got {self.epsilon:g} in L-infinity; "
                "8 of 255 grey levels are 0.0314"
            )


def shown_epsilon(epsilon: float) -> str:
    """An epsilon for a person: as grey levels, such as 8/255, where it is a whole number of them
    and no short decimal number."""
    text, levels = f"{epsilon:g}", epsilon * 255
    is_whole = math.isclose(levels, round(levels), rel_tol=0, abs_tol=1e-4) and levels > 0.5
    return f"{levels:.0f}/255" if is_whole and float(text) != epsilon else text


class AttackName(StrEnum):
    """The attacks that exist."""

    FGSM = "fgsm"
    PGD = "pgd"
    PGD_MARGIN = "pgd-margin"
    PGD_DLR = "pgd-dlr"
    APGD_CE = "apgd-ce"
    APGD_T = "apgd-t"
    FAB_T = "fab-t"
    SQUARE = "square"


class BoundName(StrEnum):
    """The certified bounds that exist, for L-infinity; each is tighter, and more expensive, than
    the one before."""

    IBP = "ibp"
    CROWN = "crown"
    ALPHA_CROWN = "alpha-crown"
    BRANCH_AND_BOUND = "branch-and-bound"


class CheckName(StrEnum):
    """The honesty checks that exist, each with what holds where it passes.

    `robustness.checks` has a function of the same name for each.
    """

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> "CheckName":
        """A member with its value and its meaning; called with a value alone, as for any enum, it
        finds the member."""
        member = str.__new__(cls, value)
        member._value_, member.meaning = value, meaning
        return member

    LOGITS_ARE_FINITE = "logits_are_finite", "every logit is a number"
    ITERATED_BEATS_ONE_STEP = (
        "iterated_beats_one_step",
        "many small steps find what one large step finds",
    )
    ACCURACY_FALLS_WITH_EPSILON = (
        "accuracy_falls_with_epsilon",
        "accuracy does not rise with epsilon",
    )
    LARGE_EPSILON_BREAKS_EVERYTHING = (
        "large_epsilon_breaks_everything",
        "at epsilon 0.5, where every image can turn grey, accuracy is near chance",
    )
    BLACK_BOX_FINDS_NO_MORE = (
        "black_box_finds_no_more",
        "Square, which sees no gradients, breaks no more than gradient attacks",
    )
    TRANSFER_FINDS_NO_MORE = (
        "transfer_finds_no_more",
        "images made against other models break no more than gradient attacks",
    )
    ATTACK_HAS_CONVERGED = "attack_has_converged", "five times as many steps find hardly more"
    GRADIENTS_ARE_NOT_ZERO = (
        "gradients_are_not_zero",
        "gradient attacks have something to follow",
    )
    SAME_SEED_SAME_RESULT = "same_seed_same_result", "the model is not random"
    NOISE_DOES_NOT_HELP = "noise_does_not_help", "a little noise makes the model no better"
    PROOFS_HOLD = "proofs_hold", "no attack breaks what a bound has proven"
    SERVED_MODEL_IS_THE_EVALUATED_ONE = (
        "served_model_is_the_evaluated_one",
        "the served signature gives the same classes as the attacked network",
    )


WITHOUT_CONVERGENCE = tuple(
    check for check in CheckName if check is not CheckName.ATTACK_HAS_CONVERGED
)
"""All checks except one: on a fragile model, more steps always find a little more, and who claims
no worst case can do without it."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """What a check found, under its name. passed: None where it could not tell, which is no pass.
    value: None where it is not a finite number."""

    name: CheckName
    passed: bool | None
    value: float | None
    sentence: str


@dataclass(frozen=True, kw_only=True)
class _Effort:
    """How hard an attack tries. Each attack is a class with the settings that it has.

    Raises:
        ConfigError: a setting that the attack does not have, or a count below 1.
    """

    name: ClassVar[AttackName]

    def __new__(cls, **settings: object) -> "_Effort":
        """Refuses what the attack would have to ignore."""
        own = [field.name for field in fields(cls)]
        unknown = [setting for setting in settings if setting not in own]
        if unknown:
            has = f"the settings are {', '.join(own)}" if own else "it has no settings"
            raise ConfigError(f"{cls.name}: there is no setting {', '.join(unknown)}; {has}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for setting in ("steps", "queries", "restarts", "targets"):
            count = getattr(self, setting, 1)
            if count < 1:
                raise ConfigError(f"{self.name}: {setting} is at least 1, got {count}")

    def effort(self, threat: ThreatModel) -> dict[str, float]:
        """The settings as they are recorded beside results, a step size in pixel units."""
        return asdict(self)


class Fgsm(_Effort):
    """One full step along the gradient of the cross-entropy."""

    name = AttackName.FGSM

    def effort(self, threat: ThreatModel) -> dict[str, float]:
        """As PGD with one step of full length would be recorded."""
        return {"steps": 1, "restarts": 1, "step_size": threat.epsilon}


@dataclass(frozen=True, kw_only=True)
class Pgd(_Effort):
    """Projected gradient ascent on the cross-entropy.

    steps: gradient steps of a restart.
    step_size: length of a step in pixel units; None means PGD_REACH * epsilon / steps.
    momentum: decay of the accumulated gradient (Dong et al. 2018); 0 is plain PGD.

    Raises:
        ConfigError: also a step size that is not positive, or a negative momentum.
    """

    name = AttackName.PGD
    steps: int
    restarts: int = 1
    step_size: float | None = None
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.step_size is not None and not 0.0 < self.step_size < float("inf"):
            raise ConfigError(
                f"{self.name}: step_size is a finite number > 0 or left out, got {self.step_size}"
            )
        if not 0.0 <= self.momentum < float("inf"):
            raise ConfigError(f"{self.name}: momentum is a finite number >= 0, got {self.momentum}")

    def resolved_step_size(self, threat: ThreatModel) -> float:
        """The step in pixel units."""
        return PGD_REACH * threat.epsilon / self.steps if self.step_size is None else self.step_size

    def effort(self, threat: ThreatModel) -> dict[str, float]:
        """The settings; the momentum only where there is some."""
        settings = asdict(self) | {"step_size": self.resolved_step_size(threat)}
        if not self.momentum:
            del settings["momentum"]
        return settings


class PgdMargin(Pgd):
    """PGD on the largest other logit minus the true one (Carlini & Wagner 2017)."""

    name = AttackName.PGD_MARGIN


class PgdDlr(Pgd):
    """PGD on the difference of logits ratio (Croce & Hein 2020)."""

    name = AttackName.PGD_DLR


@dataclass(frozen=True, kw_only=True)
class ApgdCe(_Effort):
    """Auto-PGD on the cross-entropy, which finds its step size itself.

    steps: gradient steps of a restart.
    """

    name = AttackName.APGD_CE
    steps: int
    restarts: int = 1


@dataclass(frozen=True, kw_only=True)
class ApgdT(_Effort):
    """Auto-PGD on the targeted difference of logits ratio.

    steps: gradient steps of a restart. targets: how many wrong classes are aimed at, the likeliest
        first.
    """

    name = AttackName.APGD_T
    steps: int
    restarts: int = 1
    targets: int = 9


@dataclass(frozen=True, kw_only=True)
class FabT(_Effort):
    """The targeted FAB attack.

    steps: steps of a restart. targets: how many wrong classes are aimed at, the likeliest first.
    """

    name = AttackName.FAB_T
    steps: int
    restarts: int = 1
    targets: int = 9


@dataclass(frozen=True, kw_only=True)
class Square(_Effort):
    """Random search with square windows, without gradients.

    queries: proposals of a restart, behind the query for its start.
    """

    name = AttackName.SQUARE
    queries: int
    restarts: int = 1


Attack = Fgsm | Pgd | ApgdCe | ApgdT | FabT | Square
"""One attack and how hard it tries."""
