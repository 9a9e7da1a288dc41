"""What AdversarialExampleGen can be told. Imports neither TFX nor Beam: the command line reads it."""

from dataclasses import dataclass

from robustness.config import AttackName, AttackParameters
from robustness.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AttackConfig(AttackParameters):
    """The attacks, each white-box on every model, and how hard the iterative ones try.

    names: attacks to run.

    Raises:
        ConfigError: no attack, an attack twice, or a number below 1.
    """

    names: tuple[AttackName, ...] = (AttackName.FGSM, AttackName.PGD)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.names or len(set(self.names)) < len(self.names):
            raise ConfigError(f"attack.names lists at least one attack and none twice, got {list(self.names)}")
