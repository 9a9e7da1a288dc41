"""What a file of settings decides of `check` and `evaluate` where the command line says nothing."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from foundation.errors import ConfigError
from gauntlet.options import SETTINGS_FILE, config_option

Command = Callable[..., int | None]

SETTINGS = {
    "dataset": "data.dataset",
    "split": "data.test",
    "resize": "data.resize",
    "norm": "threat.norm",
    "epsilon": "threat.epsilon",
    "epsilons": "threat.epsilon",
    "suite": "attack.suite",
    "attacks": "attack.names",
    "checks": "attack.checks",
    "seed": "seed",
}
"""Settings that mean what an option does, by the option's parameter."""

BESIDE = {
    "split": "dataset",
    "resize": "dataset",
    "epsilon": "norm",
    "epsilons": "norm",
    "attacks": "suite",
}
"""Options whose setting is meant beside the file's own value of another one: no epsilon of
L-infinity is one of L2."""

GATES = "gates."


def file_option(command: Command) -> Command:
    """--config: the command gets the options as the file says, which is said; one with --gates also
    `file_gates`, the gates in the file by their names."""

    @functools.wraps(command)
    def wrapped(config_file: Path | None, **options: Any) -> int | None:
        reviewed = options.get("gates_file")
        if reviewed and _given("config_file"):
            raise ConfigError(f"--gates {reviewed} decides what --config sets; leave one of them")
        said = settings_in(config_file) if config_file and not reviewed else {}
        taken = options_of(said, {name: value for name, value in options.items() if _given(name)})
        changed = {SETTINGS[n]: value for n, value in taken.items() if value != options[n]}
        options |= taken
        if "gates_file" in options:
            gates = options["file_gates"] = gates_of(said, options)
            changed |= {f"{GATES}{name}": value for name, value in gates.items()}
        if config_file and changed:
            _say(config_file, changed)
        return command(**options)

    return config_option("the options of the command line win over it")(wrapped)


def settings_in(path: Path) -> dict[str, Any]:
    """What a file says, by setting: its own values, and of data, threat and attacks also those of
    the preset that it names. The gates of a preset are meant for its own model.

    Raises:
        ConfigError: the file cannot be read.
    """
    from pipeline.definition.beginning import begin
    from pipeline.definition.settings_file import read_settings

    file = read_settings(path)
    start = begin(None, file)
    said = {}
    for name in SETTINGS.values() if file.preset else ():
        section, _, key = name.rpartition(".")
        said[name] = getattr(getattr(start.config, section) if section else start.config, key)
    for _, values in start.lots:
        said |= values
    return said


def options_of(said: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the command that settings decide, by parameter.

    given: options of the command line, which win. Where one names other data, another norm or
        another suite than the settings, what these say beside their own is not taken.
    """
    from pipeline.definition.settings import all_settings

    own = {name: all_settings()[setting].default for name, setting in SETTINGS.items()}
    own |= {name: said[setting] for name, setting in SETTINGS.items() if setting in said}
    other = {name for name, value in given.items() if name in own and value != own[name]}
    parameters = {str(each.name) for each in click.get_current_context().command.params}
    return {
        name: (own[name],) if name == "epsilons" else own[name]
        for name, setting in SETTINGS.items()
        if setting in said and name in parameters - given.keys() and BESIDE.get(name) not in other
    }


def gates_of(said: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The gates that settings ask for and no --min-... does, by the fields of `GatesConfig`."""
    from components.policy import OPEN

    gates = {n.removeprefix(GATES): value for n, value in said.items() if n.startswith(GATES)}
    return {
        name: value
        for name, value in gates.items()
        if value != getattr(OPEN, name) and options.get(f"min_{name}") is None
    }


def _given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE


def _say(path: Path, settings: Mapping[str, Any]) -> None:
    from foundation.json import plain
    from gauntlet.voice import Voice, say
    from pipeline.definition.settings import as_text

    shown = ", ".join(f"{name}={as_text(plain(value))}" for name, value in settings.items())
    file = f"./{SETTINGS_FILE}" if path == Path(SETTINGS_FILE).absolute() else path
    say(Voice(stderr=True), f"settings from {file}: {shown}")
