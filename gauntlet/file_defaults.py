"""What a file of settings decides of `check` and `evaluate` where the command line says nothing."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from foundation.errors import ConfigError
from gauntlet.options import SETTINGS_FILE, config_option, is_given

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
    "seed": "seed",
}
"""Settings that mean what an option does, by the option's parameter. None leaves the honesty checks
out: --no-checks does, where everybody sees it."""

OF_PRESETS = ("dataset", "resize", "norm", "epsilon")
"""Those that are taken of a preset that a file names, too. Its attacks, its part of the images and
its gates are meant for its own runs."""

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
        said = settings_in(config_file) if config_file else {}
        if reviewed and said and is_given("config_file"):
            raise ConfigError(f"--gates {reviewed} decides what --config sets; leave one of them")
        said = {} if reviewed else said
        given = {name: value for name, value in options.items() if is_given(name)}
        taken = options_of(said, given)
        changed = {SETTINGS[n]: value for n, value in taken.items() if value != options[n]}
        options |= taken
        if "gates_file" in options:
            gates = options["file_gates"] = gates_of(said)
            changed |= {f"{GATES}{name}": value for name, value in gates.items()}
        if config_file:
            left = [SETTINGS[n] for n in BESIDE if n in options and n not in taken.keys() | given]
            _say(config_file, changed, [name for name in left if name in said])
        return command(**options)

    return config_option("the options of the command line win over it")(wrapped)


def settings_in(path: Path) -> dict[str, Any]:
    """What a file says, by setting: its own values, and of data and threat also those of the preset
    that it names.

    Raises:
        ConfigError: the file cannot be read.
    """
    from pipeline.definition.beginning import begin
    from pipeline.definition.settings_file import read_settings

    file = read_settings(path)
    start = begin(None, file)
    said = {}
    for name in OF_PRESETS if file.preset else ():
        section, _, key = SETTINGS[name].partition(".")
        said[SETTINGS[name]] = getattr(getattr(start.config, section), key)
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
    other = {name for name, value in given.items() if name in own and not _same(value, own[name])}
    parameters = {str(each.name) for each in click.get_current_context().command.params}
    return {
        name: (own[name],) if name == "epsilons" else own[name]
        for name, setting in SETTINGS.items()
        if setting in said and name in parameters - given.keys() and BESIDE.get(name) not in other
    }


def _same(one: Any, other: Any) -> bool:
    """Whether two values of an option are one: a folder has many names."""
    from components.datasets.image_folder import is_folder

    if isinstance(one, str) and is_folder(one) and is_folder(other):
        return Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
    return bool(one == other)


def gates_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The gates that settings ask for, by the fields of `GatesConfig`."""
    from components.policy import OPEN

    gates = {n.removeprefix(GATES): value for n, value in said.items() if n.startswith(GATES)}
    return {name: value for name, value in gates.items() if value != getattr(OPEN, name)}


def _say(path: Path, settings: Mapping[str, Any], left: Sequence[str]) -> None:
    """What is taken of a file, and what is not."""
    from foundation.json import plain
    from gauntlet.voice import Voice, note, say
    from pipeline.definition.settings import as_text

    shown = ", ".join(f"{name}={as_text(plain(value))}" for name, value in settings.items())
    file = f"./{SETTINGS_FILE}" if path == Path(SETTINGS_FILE).absolute() else path
    if shown:
        say(Voice(stderr=True), f"settings from {file}: {shown}")
    if left:
        note(Voice(stderr=True), f"{file} is about something else, so not taken: {', '.join(left)}")
