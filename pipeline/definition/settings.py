"""Every setting: its meaning, what it may be, its default, and when it does nothing.

All of it is read off the dataclasses of the configuration: the meaning stands in their docstrings,
kind and range in the types, the default in the fields.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from functools import cache
from typing import Any, Literal

from foundation.errors import ConfigError
from foundation.json import plain
from pipeline.definition.config import RunConfig, override
from pipeline.definition.kinds import checked, choices, meaning_of_choices, words
from pipeline.definition.meanings import meanings, purpose
from pipeline.definition.presets import PRESETS, preset
from pipeline.definition.problems import recipes_with, unknown
from pipeline.definition.users import told
from trainer.config import StrategyName
from trainer.recipe_config import RECIPES, NamedRecipe

OWN_NETWORK = "mine.nets:small"
"""Stands for any network of a user's own."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting.

    name: `section.key`. meaning: from the docstring. kind: its type, as the field has it. default:
    of the dataclass, as plain values.
    """

    name: str
    meaning: str
    kind: Any
    default: Any

    @property
    def section(self) -> str:
        """The part of the name in front of the last dot; '' for the seed."""
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    @property
    def values(self) -> str:
        """What it may be, in words."""
        return words(self.kind)

    @property
    def choices(self) -> list[str]:
        """The values of a closed choice; none for any other."""
        return choices(self.kind)

    @property
    def meaning_of_choices(self) -> str:
        """What the choices mean, where that is said; '' where it is not."""
        if self.name == "recipe.name":
            return " ".join(f"{name}: {purpose(kind)}" for name, kind in RECIPES.items())
        return meaning_of_choices(self.kind)

    @property
    def told(self) -> tuple[str, ...]:
        """The nodes that are told it."""
        return told(self.name)

    @property
    def recipes(self) -> list[str]:
        """The recipes that have it; none for what is no recipe's, and for the name of one."""
        return recipes_with(self.key) if self.section == "recipe" and self.key != "name" else []

    @property
    def unused_with(self) -> list[str]:
        """Settings that make it do nothing; of a recipe's see `recipes`."""
        found = (config.unused.get(self.name) for config in _somewhere())
        return list(dict.fromkeys(reason for reason in found if reason))

    def checked(self, value: Any) -> Any:
        """A plain value of a file as the configuration has it; raises ConfigError where it cannot
        be one."""
        try:
            return checked(value, self.kind)
        except ConfigError as error:
            raise ConfigError(f"{self.name}={value!r}: {error}") from error


@cache
def all_settings() -> dict[str, Setting]:
    """Every setting of every recipe, by its name, in the order of the configuration."""
    return {setting.name: setting for setting in _settings()}


def named(name: str) -> list[Setting]:
    """The setting of that name, those of the section, or those whose last part it is.

    Raises:
        ConfigError: there is none.
    """
    known = all_settings()
    if name in known:
        return [known[name]]
    found = [setting for setting in known.values() if name in (setting.section, setting.key)]
    if not found:
        raise ConfigError(unknown(name, known))
    return found


@cache
def sections() -> dict[str, str]:
    """What each section is about, by its name."""
    return {name: purpose(kind or NamedRecipe) for name, kind in _classes().items()}


def value_of(config: RunConfig, setting: Setting) -> Any:
    """Its value in a configuration, as plain values; None where the recipe has no such setting."""
    values: Any = plain(getattr(config, setting.section) if setting.section else config)
    return values.get(setting.key)


def has(config: RunConfig, setting: Setting) -> bool:
    """Whether it is a setting of the configuration's recipe, or of none."""
    return not setting.recipes or config.recipe.name in setting.recipes


def in_presets(setting: Setting) -> dict[str, Any]:
    """Its value, as plain values, in each of our presets whose recipe has it."""
    configs = {name: preset(name) for name in PRESETS}
    return {n: value_of(config, setting) for n, config in configs.items() if has(config, setting)}


def as_text(value: Any) -> str:
    """A plain value as `--set` takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(map(as_text, value))
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _settings() -> Iterator[Setting]:
    yield from _of(RunConfig, "")
    for section, kind in _classes().items():
        yield from _of(kind, section) if kind else _of_recipes(section)


def _of(kind: type, section: str) -> Iterator[Setting]:
    """The settings among the fields of a dataclass."""
    said = meanings(kind)
    for field in dataclasses.fields(kind):
        if section or field.default is not MISSING:
            yield Setting(
                name=f"{section}.{field.name}" if section else field.name,
                meaning=said.get(field.name, ""),
                kind=field.type,
                default=plain(field.default),
            )


def _of_recipes(section: str) -> Iterator[Setting]:
    """The settings of all recipes, each once."""
    found: dict[str, Setting] = {}
    for recipe in RECIPES.values():
        for setting in _of(recipe, section):
            found.setdefault(setting.key, setting)
    kind, default = Literal[tuple(RECIPES)], RunConfig(preset="").recipe.name
    found["name"] = dataclasses.replace(found["name"], kind=kind, default=default)
    yield from found.values()


def _classes() -> dict[str, type | None]:
    """The class of each section; None for the recipes, of which each has its own."""
    return {
        field.name: field.type if isinstance(field.type, type) else None
        for field in dataclasses.fields(RunConfig)
        if field.default_factory is not MISSING
    }


@cache
def _somewhere() -> list[RunConfig]:
    """Configurations that between them show what makes a setting do nothing."""
    changes = [
        f"trainer.network={OWN_NETWORK}",
        *(f"trainer.strategy={name}" for name in StrategyName),
        *(f"recipe.name={name}" for name in RECIPES),
    ]
    config = RunConfig(preset="")
    return [config, *(override(config, [change]) for change in changes)]
