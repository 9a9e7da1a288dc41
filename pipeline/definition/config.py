"""The configuration of a run: each layer's own config, composed, and read from `section.key=value`.

Plain data: imports neither TensorFlow nor TFX.
"""

import dataclasses
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pydantic

from components.adversarial_example_gen.config import AttackConfig
from foundation.errors import ConfigError
from robustness.config import AttackName, BoundName, CheckName, Norm, ThreatModel
from trainer.config import CERTIFIED_RECIPES, RecipeConfig, TrainerConfig, TunerConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data set, by its tfds name, and the tfds splits that become ours.

    image_shape: height, width, channels that every image must have. classes: number of labels.
    shards: files a split; it bounds how many workers read and attack in parallel. span: which
    delivery of data it is, from 1; 0 where data does not come in spans.

    Raises:
        ConfigError: a size below 1, or a negative span.
    """

    dataset: str = "mnist"
    train: str = "train[:55000]"
    validation: str = "train[55000:]"
    test: str = "test"
    image_shape: tuple[int, int, int] = (28, 28, 1)
    classes: int = 10
    shards: int = 8
    span: int = 0

    def __post_init__(self) -> None:
        for name, size in {
            "image_shape": min(self.image_shape),
            "classes": self.classes,
            "shards": self.shards,
        }.items():
            if size < 1:
                raise ConfigError(f"data.{name} is at least 1, got {size}")
        if self.span < 0:
            raise ConfigError(
                f"data.span is at least 1, or 0 for data without spans, got {self.span}"
            )

    @property
    def splits(self) -> dict[str, str]:
        """Output split name to tfds split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True, kw_only=True)
class GatesConfig:
    """What the robust model must reach on the test split to be pushed.

    Shares of images are fractions, judged on the far end of their exact 95 % interval. A share of 0
    (of `gap`: 1), and an empty list, is no gate.

    clean: right on unmodified images. worst_case: right under every attack. certified: proven by a
        bound (0 where none
    applies: L2, layers without one). fgsm, white_box: right under FGSM, and under the whole suite,
    made with the model's own gradients. transfer_fgsm, transfer: the same made with the undefended
    model's. gap: right on clean images but broken by an attack, at most. worst_class: the worst
    case in the class where it is lowest.
    required: attacks and bounds that must have run. checks: honesty checks that must not fail.
    champion: significance level at which the model must not be worse than the latest blessed one,
    on clean images and in the worst case; 0 is no comparison.

    Raises:
        ConfigError: a value outside [0, 1].
    """

    clean: float = 0.98
    worst_case: float = 0.9
    certified: float = 0.0
    fgsm: float = 0.0
    white_box: float = 0.0
    transfer_fgsm: float = 0.0
    transfer: float = 0.0
    gap: float = 1.0
    worst_class: float = 0.0
    required: tuple[AttackName | BoundName, ...] = ()
    checks: tuple[CheckName, ...] = tuple(CheckName)
    champion: float = 0.025

    def __post_init__(self) -> None:
        for name, bound in dataclasses.asdict(self).items():
            if isinstance(bound, float) and not 0.0 <= bound <= 1.0:
                raise ConfigError(f"gates.{name} is a fraction in [0, 1], got {bound}")


class ServingPlatform(StrEnum):
    """Where TFX's InfraValidator starts TensorFlow Serving to try a model before its push."""

    NONE = "none"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """How a model is tried before its push, beyond the fresh process that every model meets.

    platform: where a real server runs, if any. tag: of the image `tensorflow/serving`.
    """

    platform: ServingPlatform = ServingPlatform.NONE
    tag: str = "latest"


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run computes. Where it runs and writes is not part of it.

    Raises:
        ConfigError: settings that cannot go together, or a seed outside [0, 2**32).
    """

    preset: str
    seed: int = 0
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    tuner: TunerConfig = field(default_factory=TunerConfig)
    threat: ThreatModel = field(default_factory=ThreatModel)
    attack: AttackConfig = field(default_factory=AttackConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed is a whole number from 0 to {2**32 - 1}, got {self.seed}")
        if self.recipe.name in CERTIFIED_RECIPES and self.threat.norm is not Norm.LINF:
            raise ConfigError(
                f"recipe.name={self.recipe.name} minimises an interval bound, which exists for "
                f"threat.norm=linf only, got {self.threat.norm}"
            )
        if (
            self.trainer.network is None
            and min(self.trainer.feature_size(*self.data.image_shape[:2])) < 1
        ):
            raise ConfigError(
                f"trainer.filters={self.trainer.filters} with "
                f"kernel_size={self.trainer.kernel_size} and pool_size={self.trainer.pool_size} "
                f"shrinks images of shape {self.data.image_shape} to nothing; use fewer or smaller "
                "layers"
            )

    def to_json(self) -> str:
        """The resolved configuration, readable and stable."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "RunConfig":
        """Inverse of `to_json`."""
        return pydantic.TypeAdapter(cls).validate_json(text)


def override(config: RunConfig, assignments: Iterable[str]) -> RunConfig:
    """The config with `section.key=value` (or `seed=value`) assignments applied, in order.

    Lists are written with commas: `trainer.filters=32,64,64`.

    Raises:
        ConfigError: no assignment, an unknown section or key, or a value of the wrong kind; the
            message lists what is valid.
    """
    values = dataclasses.asdict(config)
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        section, _, key = name.strip().rpartition(".")
        if not equals:
            raise ConfigError(f"--set takes section.key=value, got {assignment!r}")
        target = values if not section else values.get(section)
        if not isinstance(target, dict) or key not in target or (not section and key != "seed"):
            raise ConfigError(
                f"unknown setting {name!r}; the settings are {', '.join(settings(values))}"
            )
        target[key] = _parse(text, target[key])
    return validated(values)


def settings(values: dict[str, Any]) -> list[str]:
    """Names of all settings that `--set` takes."""
    sections = {name: value for name, value in values.items() if isinstance(value, dict)}
    return ["seed", *(f"{section}.{key}" for section, keys in sections.items() for key in keys)]


def validated(values: dict[str, Any]) -> RunConfig:
    """A RunConfig from plain values; raises ConfigError that names setting, problem and value."""
    try:
        return pydantic.TypeAdapter(RunConfig).validate_python(values)
    except pydantic.ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in problem['loc'])}={problem['input']!r}: "
            f"{problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError("; ".join(problems)) from error


def _parse(text: str, present: Any) -> Any:
    """Text to what pydantic can convert to the type of the present value."""
    if isinstance(present, tuple | list):
        return [part for part in re.split(r"\s*,\s*", text.strip()) if part]
    return None if text in ("", "none") and not isinstance(present, str) else text
