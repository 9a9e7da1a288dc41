"""Threat models, attacks and suites: plain data, read without TensorFlow.

Pixels live in [0, 1] and epsilon is in the same unit.
"""

from dataclasses import dataclass
from enum import StrEnum

from foundation.errors import ConfigError


class Norm(StrEnum):
    """The norm that measures a perturbation over all pixels of one image."""

    LINF = "linf"
    L2 = "l2"


@dataclass(frozen=True, kw_only=True)
class ThreatModel:
    """All images within `epsilon` of the original in `norm`, intersected with [0, 1].

    Raises:
        ConfigError: epsilon is negative or not finite.
    """

    norm: Norm = Norm.LINF
    epsilon: float = 0.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.epsilon < float("inf"):
            raise ConfigError(f"epsilon is a finite number >= 0, got {self.epsilon}")


class AttackName(StrEnum):
    """The attacks that exist."""

    FGSM = "fgsm"
    PGD = "pgd"  # on the cross-entropy
    PGD_MARGIN = (
        "pgd-margin"  # on the largest other logit minus the true one (Carlini & Wagner's loss)
    )
    PGD_DLR = "pgd-dlr"  # on the difference of logits ratio
    APGD_CE = "apgd-ce"
    APGD_T = "apgd-t"  # on the targeted difference of logits ratio
    FAB_T = "fab-t"
    SQUARE = "square"


class BoundName(StrEnum):
    """The certified bounds that exist, for L-infinity; each is tighter and dearer than the one
    before."""

    IBP = "ibp"
    CROWN = "crown"
    ALPHA_CROWN = "alpha-crown"
    BRANCH_AND_BOUND = "branch-and-bound"


class CheckName(StrEnum):
    """The honesty checks that exist (`robustness.checks`)."""

    LOGITS_ARE_FINITE = "logits_are_finite"
    ITERATED_BEATS_ONE_STEP = "iterated_beats_one_step"
    ACCURACY_FALLS_WITH_EPSILON = "accuracy_falls_with_epsilon"
    LARGE_EPSILON_BREAKS_EVERYTHING = "large_epsilon_breaks_everything"
    BLACK_BOX_FINDS_NO_MORE = "black_box_finds_no_more"
    TRANSFER_FINDS_NO_MORE = "transfer_finds_no_more"
    ATTACK_HAS_CONVERGED = "attack_has_converged"
    GRADIENTS_ARE_NOT_ZERO = "gradients_are_not_zero"
    SAME_SEED_SAME_RESULT = "same_seed_same_result"
    NOISE_DOES_NOT_HELP = "noise_does_not_help"
    PROOFS_HOLD = "proofs_hold"
    SERVED_MODEL_IS_THE_EVALUATED_ONE = "served_model_is_the_evaluated_one"

    @property
    def meaning(self) -> str:
        """What holds where the check passes."""
        return MEANINGS[self]


MEANINGS = {
    CheckName.LOGITS_ARE_FINITE: "every logit is a number",
    CheckName.ITERATED_BEATS_ONE_STEP: "many small steps find what one large step finds",
    CheckName.ACCURACY_FALLS_WITH_EPSILON: "a larger ball is not safer",
    CheckName.LARGE_EPSILON_BREAKS_EVERYTHING: "where every image can turn grey, accuracy is chance",
    CheckName.BLACK_BOX_FINDS_NO_MORE: "Square, which sees no gradients, breaks no more than gradient attacks",
    CheckName.TRANSFER_FINDS_NO_MORE: "images made against other models break no more than gradient attacks",
    CheckName.ATTACK_HAS_CONVERGED: "five times as many steps find hardly more",
    CheckName.GRADIENTS_ARE_NOT_ZERO: "gradient attacks have something to follow",
    CheckName.SAME_SEED_SAME_RESULT: "the model is not random",
    CheckName.NOISE_DOES_NOT_HELP: "a little noise makes the model no better",
    CheckName.PROOFS_HOLD: "no attack breaks what a bound has proven",
    CheckName.SERVED_MODEL_IS_THE_EVALUATED_ONE: "the served signature answers as the attacked network",
}


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack and how hard it tries. A field that an attack does not use is ignored by it.

    steps: gradient steps of a restart, or queries of Square.
    step_size: of PGD, in pixel units; None means 2.5 * epsilon / steps (Madry et al. 2018), which
        lets an iterate reach any point of the ball from any other.
    momentum: decay of PGD's accumulated gradient (Dong et al. 2018); 0 is plain PGD.
    targets: how many classes a targeted attack aims at, the likeliest first.

    Raises:
        ConfigError: steps, restarts or targets below 1, a step_size that is not positive, or a
            negative momentum.
    """

    name: AttackName
    steps: int = 1
    restarts: int = 1
    step_size: float | None = None
    momentum: float = 0.0
    targets: int = 9

    def __post_init__(self) -> None:
        if min(self.steps, self.restarts, self.targets) < 1:
            raise ConfigError(
                f"{self.name}: steps, restarts and targets are at least 1, "
                f"got {self.steps}, {self.restarts} and {self.targets}"
            )
        if self.step_size is not None and not 0.0 < self.step_size < float("inf"):
            raise ConfigError(
                f"{self.name}: step_size is a finite number > 0 or left out, got {self.step_size}"
            )
        if not 0.0 <= self.momentum < float("inf"):
            raise ConfigError(f"{self.name}: momentum is a finite number >= 0, got {self.momentum}")

    def resolved_step_size(self, threat: ThreatModel) -> float:
        """PGD's step in pixel units."""
        return 2.5 * threat.epsilon / self.steps if self.step_size is None else self.step_size
