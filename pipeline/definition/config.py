"""The configuration of a run: each layer's own config, composed, and read from `section.key=value`.

Plain data: imports neither TensorFlow nor TFX.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, ClassVar

import pydantic

from components.adversarial_example_gen.config import AttackConfig
from components.policy import GatesConfig
from foundation.errors import ConfigError
from foundation.ranges import Range, Section, Seed, Size, check_ranges, quotient
from pipeline.definition.problems import not_used, told, unknown
from robustness.config import Norm, ThreatModel
from trainer.classes import wrong_names
from trainer.config import TrainerConfig, TunerConfig
from trainer.recipe_config import RECIPES, CertifiedConfig, RecipeConfig, TutorialConfig


def _entries(value: Any) -> Any:
    """The entries of a text or a list; anything else as it is."""
    if isinstance(value, str):
        return tuple(value.split(","))
    return tuple(value) if isinstance(value, list) else value


Pair = Annotated[tuple[Size, Size], pydantic.BeforeValidator(_entries)]
"""Height and width, as `H,W` where they are text."""

Span = Annotated[int, Range("at least 1, or 0 for data without spans", lambda x: x >= 0)]


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """The data set, and its splits.

    dataset: name of a tfds data set, or path of a folder of images. train, validation, test: part
    of the data set that becomes our split of that name, as tfds writes it. image_shape: height,
    width, channels that every image must have. classes: number of labels. class_names: names of the
    labels, in their order; empty for those of the data set's schema.
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
    image_shape: tuple[Size, Size, Size] = (28, 28, 1)
    classes: Size = 10
    class_names: tuple[str, ...] = ()
    accept_classes: bool = False
    resize: Pair | None = None
    shards: Size = 8
    span: Span = 0

    def __post_init__(self) -> None:
        super().__post_init__()
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
    tag: str = "2.21.0"  # the TensorFlow that writes the models: an older one need not load them

    @property
    def unused(self) -> dict[str, str]:
        without_server = self.platform is ServingPlatform.NONE
        return {"tag": "serving.platform=none"} if without_server else {}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run computes. Where it runs and writes is not part of it.

    preset: name of the preset it began with. seed: seed of all that is random.

    Raises:
        ConfigError: settings that cannot go together, or a seed outside [0, 2**32).
    """

    preset: str
    seed: Seed = 0
    data: DataConfig = field(default_factory=DataConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    recipe: RecipeConfig = field(default_factory=TutorialConfig)
    tuner: TunerConfig = field(default_factory=TunerConfig)
    threat: ThreatModel = field(default_factory=ThreatModel)
    attack: AttackConfig = field(default_factory=AttackConfig)
    gates: GatesConfig = field(default_factory=GatesConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)

    def __post_init__(self) -> None:
        check_ranges(self)
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


def override(
    config: RunConfig,
    assignments: Iterable[str],
    given: Iterable[tuple[str, Mapping[str, Any]]] = (),
) -> RunConfig:
    """The config with `section.key=value` (or `seed=value`) assignments applied.

    A list is written with commas: `trainer.filters=32,64,64`, or as JSON, where a value may have
    commas itself: `data.class_names=["cat, grey", "dog"]`. Of several values for one setting the
    last counts; otherwise the order of assignments does not matter. With another `recipe.name`, the
    settings that both recipes have stay what they are in the config, and those that only the new
    one has begin with its defaults.

    given: lots of values by name, each with the place where it was read, for messages. A later lot
        wins over the earlier ones, and an assignment over all of them.

    Raises:
        ConfigError: no assignment, an unknown setting, a value of the wrong kind, or a setting that
            is changed by an assignment and does nothing in the result.
    """
    texts = dict(map(_name_and_text, assignments))
    values = dataclasses.asdict(config)
    for source, lot in given:
        try:
            _apply(values, lot, as_text=False)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    _apply(values, texts, as_text=True)
    result = validated(values)
    for name in texts:
        if name in result.unused and attrgetter(name)(result) != attrgetter(name)(config):
            raise ConfigError(not_used(name, result.unused[name]))
    return result


def _apply(values: dict[str, Any], lot: Mapping[str, Any], *, as_text: bool) -> None:
    """Puts a lot of values into a configuration of plain values."""
    recipe = lot.get("recipe.name", values["recipe"]["name"])
    values["recipe"] = _switched(values["recipe"], recipe)
    known = settings(values)
    for name, value in lot.items():
        section, _, key = name.rpartition(".")
        if name in known:
            target = values[section] if section else values
            target[key] = _parse(value, target[key]) if as_text else value
    for name in lot:
        if name not in known:
            raise ConfigError(unknown(name, known, _used(values), values["recipe"]["name"]))


def settings(values: dict[str, Any]) -> list[str]:
    """Names of all settings in a configuration of plain values."""
    sections = {name: value for name, value in values.items() if isinstance(value, dict)}
    return ["seed", *(f"{section}.{key}" for section, keys in sections.items() for key in keys)]


def validated(values: dict[str, Any]) -> RunConfig:
    """A RunConfig from plain values; raises ConfigError that names setting, problem and value."""
    try:
        return _adapter().validate_python(values)
    except pydantic.ValidationError as error:
        raise ConfigError(told(error)) from error


@cache
def _adapter() -> pydantic.TypeAdapter[RunConfig]:
    return pydantic.TypeAdapter(RunConfig)


def _name_and_text(assignment: str) -> tuple[str, str]:
    name, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(f"--set takes section.key=value, got {assignment!r}")
    return name.strip(), text


def _switched(recipe: dict[str, Any], name: str) -> dict[str, Any]:
    """The named recipe, with the values of another one where both have the setting."""
    if name not in RECIPES:
        names = ", ".join(map(repr, RECIPES))
        raise ConfigError(f"recipe.name={name!r}: expected {names}")
    switched = dataclasses.asdict(RECIPES[name](name=name))
    kept = switched.keys() & recipe.keys() - {"name"}
    return switched | {key: recipe[key] for key in kept}


def _parse(text: str, present: Any) -> Any:
    """Text to what pydantic can convert to the type of the present value."""
    if isinstance(present, tuple | list):
        if text.lstrip().startswith("["):
            return _list_of(text)
        return [part for part in re.split(r"\s*,\s*", text.strip()) if part]
    if isinstance(present, float) and (value := quotient(text)) is not None:
        return value
    return None if text in ("", "none") and not isinstance(present, str) else text


def _list_of(text: str) -> list[Any]:
    try:
        return list(json.loads(text))
    except ValueError as error:
        raise ConfigError(f"a list that begins with [ is written as JSON, got {text}") from error


def _used(values: dict[str, Any]) -> list[str]:
    """Names of the settings that do something; of all of them where some value is wrong."""
    try:
        unused = validated(values).unused
    except ConfigError:
        unused = {}
    return [name for name in settings(values) if name not in unused]
