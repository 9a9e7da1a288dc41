"""What a shell completes: click's own script, and values that click does not know."""

import dataclasses
from enum import StrEnum

import click
from click.shell_completion import CompletionItem, get_completion_class

from foundation.errors import ConfigError
from pipeline.definition import DEFAULT_PRESET

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
    """Names of presets, each with what it is for."""
    from gauntlet.options import preset_texts

    found = preset_texts().items()
    return [CompletionItem(name, help=text) for name, text in found if name.startswith(incomplete)]


def settings(context: click.Context, option: click.Parameter, incomplete: str) -> list[str]:
    """Names of the settings that the command's preset has, each with the sign before its value."""
    from pipeline.definition.config import settings as names_of
    from pipeline.definition.presets import preset

    try:
        values = dataclasses.asdict(preset(context.params["preset"] or DEFAULT_PRESET))
    except ConfigError:  # a misspelt preset
        return []
    return [f"{name}=" for name in names_of(values) if name.startswith(incomplete)]
