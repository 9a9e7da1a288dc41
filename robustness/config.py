"""Threat models and attack parameters: plain data, read without TensorFlow.

Pixels live in [0, 1] and epsilon is in the same unit.
"""

from dataclasses import dataclass
from enum import StrEnum

from robustness.errors import ConfigError


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
    PGD = "pgd"


@dataclass(frozen=True, kw_only=True)
class AttackParameters:
    """How hard an iterative attack tries; FGSM has no parameters but the threat model.

    step_size: in pixel units; None means 2.5 * epsilon / steps (Madry et al. 2018), which lets an
    iterate reach any point of the ball from any other.

    Raises:
        ConfigError: steps or restarts below 1, or a step_size that is not positive.
    """

    steps: int = 20
    restarts: int = 2
    step_size: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise ConfigError(f"steps and restarts are at least 1, got {self.steps} and {self.restarts}")
        if self.step_size is not None and not 0.0 < self.step_size < float("inf"):
            raise ConfigError(f"step_size is a finite number > 0 or left out, got {self.step_size}")

    def resolved_step_size(self, threat: ThreatModel) -> float:
        """Step in pixel units."""
        return 2.5 * threat.epsilon / self.steps if self.step_size is None else self.step_size
