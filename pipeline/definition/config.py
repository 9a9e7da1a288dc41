"""The configuration of a run: each layer's own config, composed, and read from `section.key=value`.

Plain data: imports neither TensorFlow nor TFX.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from operator import attrgetter
from typing import Annotated, Any, ClassVar

import pydantic

from components.adversarial_example_gen.config import AttackConfig
from components.policy import GatesConfig
from foundation.errors import ConfigError
from robustness.config import Norm, ThreatModel
from trainer.classes import wrong_names
from trainer.config import TrainerConfig, TunerConfig
from trainer.ranges import Section, Size
from trainer.recipe_config import RECIPES, CertifiedConfig, RecipeConfig, TutorialConfig

Pair = Annotated[
    tuple[int, int],
    pydantic.BeforeValidator(lambda text: text.split(",") if isinstance(text, str) else text),
]
"""Height and width, as `H,W` where they are text."""


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """The data set, and its splits.

    dataset: its tfds name, or a folder of images. train, validation, test: splits of tfds that
    become ours. image_shape: height, width, channels that every image must have. classes: number of
    labels. class_names: their names, in label order; empty for those of the data set's schema.
    accept_classes: whether the classes may be others than those of the last span and of the
    champion, with which the model is then not compared. resize: height and width to which the
    images of a folder are brought before they are stored, and those of a request before they are
    classified; none where all have one size. shards: number of files a split, which bounds how many
    workers read and attack in parallel. span: number of the delivery of data, from 1, or its date
    as YYYYMMDD; 0 where data does not come in spans.

    Raises:
        ConfigError: a size below 1, a negative span, or a class name that is none or comes twice.
    """

    section: ClassVar[str] = "data"
    dataset: str = "mnist"
    train: str = "train[:55000]"
    validation: str = "train[55000:]"
    test: str = "test"
    image_shape: tuple[int, int, int] = (28, 28, 1)
    classes: Size = 10
    class_names: tuple[str, ...] = ()
    accept_classes: bool = False
    resize: Pair | None = None
    shards: Size = 8
    span: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.image_shape) < 1:
            raise ConfigError(f"data.image_shape is at least 1, got {min(self.image_shape)}")
        if min(self.resize or (1,)) < 1:
            raise ConfigError(f"data.resize is at least 1, got {min(self.resize or (1,))}")
        if self.span < 0:
            raise ConfigError(
                f"data.span is at least 1, or 0 for data without spans, got {self.span}"
            )
        if problem := wrong_names(self.class_names):
            raise ConfigError(f"data.class_names: {problem}; rename the class")

    @property
    def splits(self) -> dict[str, str]:
        """Output split name to tfds split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


class ServingPlatform(StrEnum):
    """Where TFX's InfraValidator starts TensorFlow Serving to try a model before its push."""

    NONE = "none"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"


@dataclass(frozen=True, kw_only=True)
class ServingConfig(Section):
    """How a model is tried before its push, beyond the fresh process that every model meets.

    platform: where a real server runs, if any. tag: tag of the image `tensorflow/serving`.
    """

    section: ClassVar[str] = "serving"
    platform: ServingPlatform = ServingPlatform.NONE
    tag: str = "latest"

    @property
    def unused(self) -> dict[str, str]:
        without_server = self.platform is ServingPlatform.NONE
        return {"tag": "serving.platform=none"} if without_server else {}


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
    recipe: RecipeConfig = field(default_factory=TutorialConfig)
    tuner: TunerConfig = field(default_factory=TunerConfig)
    threat: ThreatModel = field(default_factory=ThreatModel)
    attack: AttackConfig = field(default_factory=AttackConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed is a whole number from 0 to {2**32 - 1}, got {self.seed}")
        if isinstance(self.recipe, CertifiedConfig) and self.threat.norm is not Norm.LINF:
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

    @property
    def unused(self) -> dict[str, str]:
        """Settings that do nothing here, and for each the setting that is the reason."""
        unused: dict[str, str] = {}
        for part in (self.trainer, self.tuner, self.serving):
            unused |= {f"{part.section}.{key}": reason for key, reason in part.unused.items()}
        if isinstance(self.recipe, TutorialConfig):  # NSL's own model, which knows no L1
            unused["trainer.l1"] = "recipe.name=tutorial"
        return unused

    def accepting_classes(self) -> "RunConfig":
        """The same, where the classes may be others than before."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, accept_classes=True))

    def to_json(self) -> str:
        """The resolved configuration, readable and stable."""
        return json.dumps(dataclasses.asdict(self), indent=2, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "RunConfig":
        """Inverse of `to_json`. What a recipe does not have, older versions wrote all the same: it
        is passed over."""
        return pydantic.TypeAdapter(cls).validate_json(text)


def override(config: RunConfig, assignments: Iterable[str]) -> RunConfig:
    """The config with `section.key=value` (or `seed=value`) assignments applied.

    A list is written with commas: `trainer.filters=32,64,64`, or as JSON, where a value may have
    commas itself: `data.class_names=["cat, grey", "dog"]`. Of several values for one setting the
    last counts; otherwise the order of assignments does not matter. With another `recipe.name`, the
    settings that both recipes have stay what they are in the config, and those that only the new
    one has begin with its defaults.

    Raises:
        ConfigError: no assignment, an unknown setting, a value of the wrong kind, or a setting that
            is changed and does nothing in the result. The message lists what is valid.
    """
    texts = dict(map(_name_and_text, assignments))
    values = dataclasses.asdict(config)
    recipe = texts.get("recipe.name", config.recipe.name)
    values["recipe"] = _switched(values["recipe"], recipe)
    known = settings(values)
    for name, text in texts.items():
        section, _, key = name.rpartition(".")
        if name in known:
            target = values[section] if section else values
            target[key] = _parse(text, target[key])
    for name in texts:
        if name not in known:
            raise ConfigError(_unknown(name, values))
    result = validated(values)
    for name in texts:
        if name in result.unused and attrgetter(name)(result) != attrgetter(name)(config):
            raise ConfigError(_not_used(name, result.unused[name], values))
    return result


def settings(values: dict[str, Any]) -> list[str]:
    """Names of all settings in a configuration of plain values."""
    sections = {name: value for name, value in values.items() if isinstance(value, dict)}
    return ["seed", *(f"{section}.{key}" for section, keys in sections.items() for key in keys)]


def validated(values: dict[str, Any]) -> RunConfig:
    """A RunConfig from plain values; raises ConfigError that names setting, problem and value."""
    try:
        return pydantic.TypeAdapter(RunConfig).validate_python(values)
    except pydantic.ValidationError as error:
        problems = [
            f"{_setting(problem['loc'])}={problem['input']!r}: {problem['msg']}"
            for problem in error.errors(include_url=False)
        ]
        raise ConfigError("; ".join(problems)) from error


def _name_and_text(assignment: str) -> tuple[str, str]:
    name, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set takes section.key=value, got {assignment!r}")
    return name.strip(), text


def _switched(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    """The named recipe, with the values of another one where both have the setting."""
    if name not in RECIPES:
        names = ", ".join(map(repr, RECIPES))
        raise ConfigError(f"recipe.name={name!r}: Input should be {names}")
    switched = dataclasses.asdict(RECIPES[name](name=name))
    kept = switched.keys() & recipe.keys() - {"name"}
    return switched | {key: recipe[key] for key in kept}


def _parse(text: str, present: Any) -> Any:
    """Text to what pydantic can convert to the type of the present value."""
    if isinstance(present, tuple | list):
        if text.lstrip().startswith("["):
            return _list_of(text)
        return [part for part in re.split(r"\s*,\s*", text.strip()) if part]
    return None if text in ("", "none") and not isinstance(present, str) else text


def _list_of(text: str) -> list[Any]:
    try:
        return list(json.loads(text))
    except ValueError as error:
        raise ConfigError(f"a list that begins with [ is written as JSON, got {text}") from error


def _unknown(name: str, values: dict[str, Any]) -> str:
    """What to answer to a name that the chosen recipe, or any configuration, does not have."""
    section, _, key = name.rpartition(".")
    users = [
        recipe
        for recipe, kind in RECIPES.items()
        if any(key == setting.name for setting in fields(kind))
    ]
    if section == "recipe" and users:
        reason = f"recipe.name={values['recipe']['name']}, only with {', '.join(users)}"
        return _not_used(name, reason, values)
    used = _used(values)
    own = [setting for setting in settings(values) if setting.startswith(f"{section}.")]
    similar = _similar(key, own) or _similar(key, used)
    hint = f": did you mean {' or '.join(similar)}? The" if similar else "; the"
    return f"unknown setting {name!r}{hint} settings are {', '.join(used)}"


def _similar(key: str, names: Iterable[str]) -> list[str]:
    """Those of the names of settings whose last part is most like a misspelt one."""
    keys = {name: name.rpartition(".")[2] for name in names}
    nearest = difflib.get_close_matches(key, keys.values(), n=1, cutoff=0.75)
    return [name for name in keys if keys[name] in nearest]


def _not_used(name: str, reason: str, values: dict[str, Any]) -> str:
    return f"{name} is not used with {reason}; the settings are {', '.join(_used(values))}"


def _used(values: dict[str, Any]) -> list[str]:
    """Names of the settings that do something; of all of them where some value is wrong."""
    try:
        unused = validated(values).unused
    except ConfigError:
        unused = {}
    return [name for name in settings(values) if name not in unused]


def _setting(location: tuple[int | str, ...]) -> str:
    """The name of a setting by pydantic's location, which has the recipe's name in between."""
    parts = [str(part) for part in location]
    if parts[0] == "recipe":
        del parts[1:2]
    return ".".join(parts)
