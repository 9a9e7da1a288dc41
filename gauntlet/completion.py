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

    found = preset_texts()
    if file := settings_file(context):
        found |= {
            name: f"{own.base} with the changes of {file.path}"
            for name, own in file.presets.items()
        }
    return [
        CompletionItem(name, help=text)
        for name, text in found.items()
        if name.startswith(incomplete)
    ]


def settings_file(context: click.Context) -> "SettingsFile | None":
    """What the file of --config says, or that of the current folder; None where nothing can be read
    there."""
    from gauntlet.options import SETTINGS_FILE
    from pipeline.definition.settings_file import read_settings

    path = context.params.get("config_file") or Path(SETTINGS_FILE)
    with contextlib.suppress(ConfigError):  # the command itself will say so
        return read_settings(path)
    return None


def settings(context: click.Context, option: click.Parameter, incomplete: str) -> list[str]:
    """Names of the settings that the command's preset has, each with the sign before its value."""
    from pipeline.definition.beginning import begin
    from pipeline.definition.config import settings as names_of

    try:
        begun = begin(context.params["preset"], settings_file(context))
        values = dataclasses.asdict(begun.with_settings(()))
    except ConfigError:  # a misspelt preset
        return []
    return [f"{name}=" for name in names_of(values) if name.startswith(incomplete)]
