"""What AdversarialExampleGen can be told. Imports neither TFX nor Beam: the command line reads
it."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pydantic

from foundation.errors import ConfigError
from robustness.config import ThreatModel
from robustness.suites import Stage, SuiteName, suite


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """The bounds and attacks that all models face.

    suite: bounds and attacks in the order in which they run. names: attacks in place of the suite's
    own, in this order: fgsm, pgd, pgd-margin, pgd-dlr, apgd-ce, apgd-t, fab-t or square, alone or
    with steps (of square: queries) and restarts, such as `pgd:20x1`; empty for the suite itself.
    checks: whether the honesty checks look at the candidate.

    Raises:
        ConfigError: an unknown attack, or one twice.
    """

    suite: SuiteName = SuiteName.FAST
    names: tuple[str, ...] = ()
    checks: bool = True

    def __post_init__(self) -> None:
        try:
            _ = self.stages
        except ConfigError as error:
            raise ConfigError(f"attack.names: {error}") from error

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Bounds and attacks in the order in which they run."""
        return suite(self.suite, self.names)


@dataclass(frozen=True, kw_only=True)
class AttackTask:
    """What AdversarialExampleGen does to a split; it lies beside the rows, for nodes that add to
    them. seed: of the attacks."""

    split: str
    threat: ThreatModel
    attack: AttackConfig
    seed: int

    def to_properties(self) -> dict[str, Any]:
        """As TFX carries it: what is no plain value, as JSON."""
        return {
            "split": self.split,
            "threat": json.dumps(dataclasses.asdict(self.threat), sort_keys=True, allow_nan=False),
            "attack": json.dumps(dataclasses.asdict(self.attack), sort_keys=True, allow_nan=False),
            "seed": self.seed,
        }

    @classmethod
    def of_properties(cls, properties: Mapping[str, Any]) -> "AttackTask":
        """Inverse of `to_properties`; other properties are left out."""
        return cls(
            split=properties["split"],
            threat=pydantic.TypeAdapter(ThreatModel).validate_json(properties["threat"]),
            attack=pydantic.TypeAdapter(AttackConfig).validate_json(properties["attack"]),
            seed=properties["seed"],
        )
