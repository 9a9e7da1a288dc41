"""The options by which a run is held against the terms of the place that it pushes to: `--gates`,
`--replace`, `--force` and `--reason`; and what they come to."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foundation.errors import ConfigError
from gauntlet.parameters import INPUT_FILE

if TYPE_CHECKING:  # what takes long to import would make --help slow
    from components.mandate import Mandate
    from pipeline.definition.config import RunConfig
    from pipeline.root.root import Root

Command = Callable[..., int | None]

OF_FILE = ("gates.", "threat.", "attack.")
"""Settings that a file of terms decides."""


def mandate_options(command: Command) -> Command:
    """--replace, --force and --reason, see `mandate_of`."""
    for option in (
        click.option(
            "--reason",
            default="",
            metavar="TEXT",
            help="With --replace and --force: why, for the card and every later listing.",
        ),
        click.option(
            "--force",
            is_flag=True,
            help="Let this run push although it asks for less than the models before it had to "
            "reach; needs --reason, and is recorded.",
        ),
        click.option(
            "--replace",
            is_flag=True,
            help="Let a model for another purpose (data set, classes, norm, epsilon) take the "
            "place of the served one, with which it is not compared; or let an edited gates.toml "
            "count. Needs --reason, and is recorded.",
        ),
    ):
        command = option(command)
    return command


gates_option = click.option(
    "--gates",
    "gates_file",
    type=INPUT_FILE,
    metavar="FILE",
    help="Take gates, threat, attacks and checks from a reviewed gates.toml, in place of those of "
    "preset and --config. It must be for the same data set.",
)


def mandate_of(replace: bool, force: bool, reason: str) -> "Mandate":
    """Who answers for what, by the options of a command.

    Raises:
        ConfigError: an option without its reason, or a reason for nothing.
    """
    from components.changes import signed
    from components.mandate import FORCE, REPLACE, Mandate

    if (replace or force) and not reason.strip():
        option = REPLACE if replace else FORCE
        raise ConfigError(f"say why, for the card and every later listing: {option}")
    if not (replace or force):
        if reason:
            raise ConfigError(f"--reason goes with one of {REPLACE} and {FORCE}")
        return Mandate()
    return Mandate(replace=replace, force=force, signature=signed(reason.strip()))


def with_gates(
    config: "RunConfig",
    file: Path | None,
    assignments: tuple[str, ...],
    settings_file: Path | None = None,
) -> "RunConfig":
    """The configuration under the terms in a file, where one is given. That it decides over a file
    of settings too is said.

    Raises:
        ConfigError: it is no such file, is for another purpose, or a setting says otherwise.
    """
    if file is None:
        return config
    from components.bound import read_terms
    from pipeline.definition.terms import under

    doubled = [text for text in assignments if text.strip().startswith(OF_FILE)]
    if doubled:
        raise ConfigError(f"--gates {file} decides what --set {doubled[0]} sets; leave one of them")
    terms = read_terms(file)
    assert terms  # the option takes a file that is there
    if settings_file:
        from gauntlet.voice import Voice, note

        over = f"--gates {file} decides threat, attack and gates, whatever {settings_file} says"
        note(Voice(stderr=True), over)
    return under(config, terms, f"--gates {file}")


def agreed(
    root: "Root", config: "RunConfig", mandate: "Mandate"
) -> tuple["RunConfig", tuple[str, ...]]:
    """The configuration as it may run in a root, and what a user should know of the terms there.
    Where another purpose replaces the old one, its classes are accepted as well.

    Raises:
        ConfigError: it may not.
    """
    from components.binding import agree
    from pipeline.definition.terms import terms_of

    agreement = agree(str(root.serving), terms_of(config), mandate)
    return config.accepting_classes() if agreement.differences else config, agreement.notes
