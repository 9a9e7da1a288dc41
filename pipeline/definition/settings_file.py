"""Settings in a file: a TOML that somebody wrote, or the `config.json` of a run.

In TOML, tables are sections: `[trainer]` with `epochs = 3`; `preset` and `seed` stand at the top.
`[presets.NAME]` with `preset = "BASE"` is a preset of the user's own.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundation.errors import ConfigError
from pipeline.definition.config import RunConfig, validated
from pipeline.definition.presets import PRESETS
from pipeline.definition.problems import unknown
from pipeline.definition.settings import all_settings, sections
from trainer.recipe_config import RECIPES

NAME = re.compile(r"[A-Za-z0-9_-]+")
"""Of a preset; the keys that TOML takes without quotes."""

LARGEST = 1 << 20
"""Bytes of a file of settings."""

Values = Mapping[str, Any]
"""By the name of the setting, as the configuration has them."""


@dataclass(frozen=True, kw_only=True)
class OwnPreset:
    """A preset of the user's own. base: the one that it begins with."""

    base: str
    values: Values


@dataclass(frozen=True, kw_only=True)
class SettingsFile:
    """What a file says. preset: '' where it names none. values: what stands beside the presets.
    whole: the configuration of a run, which needs no preset."""

    path: Path
    preset: str
    values: Values
    presets: Mapping[str, OwnPreset] = field(default_factory=dict)
    whole: RunConfig | None = None

    def line(self, name: str) -> list[str]:
        """A preset of the file and those that it begins with, up to the first of ours, which comes
        first.

        Raises:
            ConfigError: there is no such preset, or they go round in a circle.
        """
        found = [name]
        while found[0] not in PRESETS:
            if found[0] not in self.presets:
                known = ", ".join([*PRESETS, *self.presets])
                raise ConfigError(f"unknown preset {found[0]!r}; the presets are {known}")
            base = self.presets[found[0]].base
            if base in found:
                circle = " -> ".join([*found[: found.index(base) + 1][::-1], base])
                raise ConfigError(f"presets begin with one another: {circle}")
            found.insert(0, base)
        return found


def read_settings(path: Path) -> SettingsFile:
    """What a file says, checked name by name and value by value.

    Raises:
        ConfigError: it cannot be read, or names a setting that there is not, or gives one a value
            that it cannot have; the message names file and setting.
    """
    try:
        tables = _tables(path)
        return _of_run(path, tables) if path.suffix == ".json" else _of_user(path, tables)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _tables(path: Path) -> dict[str, Any]:
    try:
        special = path.is_fifo() or path.is_char_device() or path.is_socket()
        if special and str(path) != os.devnull:  # which may never end
            raise ConfigError("is no file of settings: expected a regular file")
        if path.is_file() and path.stat().st_size > LARGEST:
            raise ConfigError(f"is no file of settings: it has more than {LARGEST:,} bytes")
        text = path.read_text(encoding="utf-8-sig")
        tables = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"is no UTF-8 text ({error.reason} at byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"is no {kind}: {error or 'nested too deeply'}") from error
    if not isinstance(tables, dict):
        raise ConfigError("is no configuration: expected the config.json of a run")
    return tables


def _of_user(path: Path, tables: dict[str, Any]) -> SettingsFile:
    presets = _table(tables.pop("presets", {}), "presets")
    name = _preset_of(tables, "")
    own = {each: _own_preset(each, table) for each, table in presets.items()}
    file = SettingsFile(path=path, preset=name, values=_values(tables), presets=own)
    for each in (*own, *([name] if name else [])):
        file.line(each)
    return file


def _own_preset(name: str, table: Any) -> OwnPreset:
    where = f"presets.{name}"
    if name in PRESETS:
        raise ConfigError(f"{where} has the name of one of Gauntlet's own; take another")
    if not NAME.fullmatch(name):
        raise ConfigError(f"presets.{name!r}: a name has letters, digits, - and _")
    table = dict(_table(table, where))
    base = _preset_of(table, where)
    if not base:
        raise ConfigError(
            f'{where} does not say what it begins with: preset = "NAME", such as '
            f"{', '.join(PRESETS)}"
        )
    try:
        return OwnPreset(base=base, values=_values(table))
    except ConfigError as error:
        raise ConfigError(f"[{where}] {error}") from error


def _of_run(path: Path, tables: dict[str, Any]) -> SettingsFile:
    """What a run wrote. Recipes of older versions had the settings of all of them, which are passed
    over."""
    if missing := [name for name in ("preset", *sections()) if name not in tables]:
        raise ConfigError(
            f"is no configuration of a run, which has {', '.join(missing)} too; settings of your "
            "own go into a TOML"
        )
    name = _preset_of(tables, "")
    values = _values(tables)
    recipe = values.get("recipe.name", "")
    passed = {n for n in values if n.startswith("recipe.") and n not in _of_recipe(recipe)}
    values = {name: value for name, value in values.items() if name not in passed}
    return SettingsFile(path=path, preset=name, values=values, whole=_whole(name, values))


def _of_recipe(recipe: str) -> set[str]:
    if recipe not in RECIPES:
        raise ConfigError("recipe.name is missing")
    return {
        name
        for name, setting in all_settings().items()
        if not setting.recipes or recipe in setting.recipes
    }


def _whole(preset: str, values: Values) -> RunConfig:
    """The configuration with these values and no others but defaults."""
    tables: dict[str, Any] = {"preset": preset}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        (tables.setdefault(section, {}) if section else tables)[key] = value
    return validated(tables)


def _preset_of(table: dict[str, Any], where: str) -> str:
    """The name of the preset in a table, out of which it is taken; '' without one."""
    name = table.pop("preset", "")
    if not isinstance(name, str):
        place = f"{where}.preset" if where else "preset"
        raise ConfigError(f"{place}={name!r}: expected the name of a preset")
    return name


def _values(tables: dict[str, Any]) -> dict[str, Any]:
    """The values in tables of sections, by name."""
    known, found = all_settings(), {}
    for name, value in _named(tables).items():
        if name not in known:
            raise ConfigError(unknown(name, known))
        found[name] = known[name].checked(value)
    return found


def _named(tables: dict[str, Any]) -> dict[str, Any]:
    """Entries of the sections by their whole names, and what else stands at the top."""
    found: dict[str, Any] = {}
    for section, table in tables.items():
        if section in sections():
            entries = _table(table, section)
            found |= {f"{section}.{key}": value for key, value in entries.items()}
        elif isinstance(table, dict):
            raise ConfigError(
                f"unknown table [{section}]; the tables are {', '.join(sections())} and presets"
            )
        else:
            found[section] = table
    return found


def _table(table: Any, name: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise ConfigError(f"{name} is a table, [{name}], got {table!r}")
    return table
