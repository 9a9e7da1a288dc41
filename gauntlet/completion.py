"""What a shell completes: click's own script, and values that click does not know."""

import contextlib
import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem, get_completion_class

from foundation.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.definition.settings_file import SettingsFile

PROGRAM = "gauntlet"


class Shell(StrEnum):
    """A shell for which click has a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def script(shell: Shell) -> str:
    """What a shell must run to ask the program for every completion."""
    kind = get_completion_class(shell)
    assert kind
    return kind(click.Group(), {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE").source()


def presets(
    context: click.Context, option: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of presets, each with what it is for, and those of the settings file."""
    from gauntlet.options import preset_texts

    file = _settings_file(context)
    own = {name: f"begins with {each.base}" for name, each in file.presets.items()} if file else {}
    found = (preset_texts() | own).items()
    return [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)]


def settings(context: click.Context, option: click.Parameter, incomplete: str) -> list[str]:
    """Names of the settings that the command's preset has, each with the sign before its value."""
    from pipeline.definition.beginning import begin
    from pipeline.definition.config import settings as names_of

    try:
        start = begin(context.params["preset"], _settings_file(context))
        # The recipe has names of its own; other values may fit a folder that nobody looks at here.
        values = dataclasses.asdict(start.only(("recipe.name",)).with_settings(()))
    except ConfigError:  # a misspelt preset
        return []
    return [f"{name}=" for name in names_of(values) if name.startswith(incomplete)]


def _settings_file(context: click.Context) -> "SettingsFile | None":
    """The file that the command would read; None where there is none, or a wrong one."""
    from gauntlet.options import SETTINGS_FILE
    from pipeline.definition.settings_file import read_settings

    file = context.params.get("config_file") or Path(SETTINGS_FILE).absolute()
    with contextlib.suppress(ConfigError):
        return read_settings(file)
    return None
