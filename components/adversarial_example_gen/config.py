"""What AdversarialExampleGen can be told. Imports neither TFX nor Beam: the command line reads
it."""

from dataclasses import dataclass

from robustness.config import AttackName
from robustness.suites import Stage, SuiteName, suite


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """The bounds and attacks that both models face.

    suite: see `robustness.suites`. names: attacks in place of the suite's own; empty for the suite
        itself.
    checks: whether the honesty checks look at the robust model.

    Raises:
        ConfigError: an attack twice.
    """

    suite: SuiteName = SuiteName.FAST
    names: tuple[AttackName, ...] = ()
    checks: bool = True

    def __post_init__(self) -> None:
        _ = self.stages

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Bounds and attacks in the order in which they run."""
        return suite(self.suite, self.names)
