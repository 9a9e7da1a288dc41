"""Options that several commands have, and what a command makes of them."""

import ast
import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from foundation.errors import ConfigError
from gauntlet import completion
from gauntlet.loudness import choose
from gauntlet.parameters import EXISTING_ROOT, INPUT_FILE, OUTPUT_FILE
from pipeline.definition import DEFAULT_PRESET
from pipeline.root.root import Root

if TYPE_CHECKING:
    from gauntlet.voice import Voice

Command = Callable[..., int | None]
R = TypeVar("R")

DEFAULT_ROOT = "runs"

SETTINGS_FILE = "gauntlet.toml"
"""What is read by itself where a command is called."""


def request(kind: type[R]) -> Callable[[Callable[..., int | None]], Command]:
    """The command takes a `kind`, a dataclass made of the options with the names of its fields, and
    the other options by name."""
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]

    def decorate(command: Callable[..., int | None]) -> Command:
        @functools.wraps(command)
        def wrapped(**options: Any) -> int | None:
            values = {name: options.pop(name) for name in fields & options.keys()}
            return command(kind(**values), **options)

        return wrapped

    return decorate


def is_given(parameter: str) -> bool:
    """Whether the command line has it."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE


def refuse_options(target: str, options_of: Mapping[str, Collection[str]]) -> None:
    """Raises ConfigError for an option on the command line that the target does not have.

    Args:
        target: value of --target.
        options_of: targets that have an option, by its parameter; an absent one is for all.
    """
    for parameter in click.get_current_context().command.params:
        name = str(parameter.name)
        targets = options_of.get(name, {target})
        if is_given(name) and target not in targets:
            raise ConfigError(
                f"{parameter.opts[0]} is for --target {' or '.join(sorted(targets))}, not for "
                f"{target}"
            )


def root_option(command: Command) -> Command:
    """--root of a pipeline that has run: a `Root`."""
    return click.option(
        "--root",
        type=EXISTING_ROOT,
        default=DEFAULT_ROOT,
        show_default=True,
        help="Root of the pipeline, as for `gauntlet run`.",
    )(command)


def root_or_store_options(command: Command) -> Command:
    """--root and --store: where pushed versions are, here or on a platform; see `place_of`."""
    command = click.option(
        "--store",
        default="",
        metavar="FOLDER",
        help="Instead of a root: a platform's store, such as gs://BUCKET/gauntlet/NAME.",
    )(command)
    return click.option(
        "--root",
        "folder",
        metavar="PATH",
        show_default=DEFAULT_ROOT,
        help="Root of the pipeline, as for `gauntlet run`.",
    )(command)


def place_of(folder: str | None, store: str) -> Root | str:
    """The root, or the folder of the versions in a store.

    Raises:
        ConfigError: both, a root that is not there, or a store that nobody can read.
    """
    if store and folder is not None:
        raise ConfigError("--root and --store are two places; give one of them")
    if "://" in store and not store.startswith("gs://"):
        raise ConfigError(
            f"--store {store} cannot be read: a store is at gs://, or a folder of this machine, "
            "such as a platform's volume that is mounted here"
        )
    if store:
        return f"{store.rstrip('/')}/serving"
    root = EXISTING_ROOT.convert(DEFAULT_ROOT if folder is None else folder, None, None)
    assert isinstance(root, Root)
    return root


def by_hand_options(command: Command) -> Command:
    """--reason and --by of a change by hand."""
    command = click.option(
        "--by",
        default="",
        metavar="TEXT",
        help="Name by which you want to be known; noted as what you say, beside the user and the "
        "machine that the system knows.",
    )(command)
    return click.option(
        "--reason",
        default="",
        help="Reason, kept with the version and shown in every listing. Required.",
    )(command)


def google_cloud_options(command: Command) -> Command:
    """--project, --region and --api-endpoint of Vertex AI."""
    for option in (
        click.option(
            "--api-endpoint",
            default="",
            metavar="URL",
            help="Vertex AI: address of the service in place of Google's own.",
        ),
        click.option(
            "--region",
            default="",
            envvar="GOOGLE_CLOUD_REGION",
            help="Vertex AI: region, such as europe-west4.",
        ),
        click.option(
            "--project", default="", envvar="GOOGLE_CLOUD_PROJECT", help="Vertex AI: project."
        ),
    ):
        command = option(command)
    return command


def console_beside(json_file: Path | None = None) -> "Voice":
    """The console of a command, as loud as its options say. json_file: where its JSON goes."""
    from gauntlet.voice import Voice

    return Voice(json_file)


def voice_options(command: Command) -> Command:
    """--quiet, --verbose and --log-json of a command whose work takes a while."""
    texts = {
        "--log-json": "Say how the work goes in JSON, one object a line on standard error.",
        "--verbose": "Also show what the work logs.",
        "--quiet": "Show errors, refusals and the verdict only.",
    }
    for option, text in texts.items():
        command = click.option(
            option, is_flag=True, expose_value=False, callback=choose, help=text
        )(command)
    return command


def json_option(what: str) -> Callable[[Command], Command]:
    """--json, which writes `what` into a file."""
    return click.option(
        "--json",
        "json_file",
        type=OUTPUT_FILE,
        default=None,
        help=f"Also write {what} here.",
    )


def settings_options(command: Command) -> Command:
    """--preset, --config and --set: `preset`, `config_file` and `assignments`, from which the
    configuration is made."""
    command = click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="SECTION.KEY=VALUE",
        shell_complete=completion.settings,
        help="Change one setting, such as trainer.epochs=2 or threat.epsilon=0.3; repeatable. "
        "Lists are written with commas. `gauntlet config` lists all settings.",
    )(command)
    command = config_option("--set wins over it, and it over the preset")(command)
    presets = preset_texts()
    shown = ", ".join(f"{name} ({text})" for name, text in presets.items())
    return click.option(
        "--preset",
        metavar=f"[{'|'.join(presets)}|NAME]",
        shell_complete=completion.presets,
        show_default=f"the file's, or {DEFAULT_PRESET}",
        help=f"Named configuration to start from: {shown}; or one of the settings file's own.",
    )(command)


def config_option(wins: str) -> Callable[[Command], Command]:
    """--config: `config_file`, None where there is none. wins: what wins over what."""
    return click.option(
        "--config",
        "config_file",
        type=INPUT_FILE,
        metavar="FILE",
        callback=_settings_file,
        help=f"Take settings from a TOML, or all of them from the config.json of a run; {wins}. "
        f"Paths in it count from the current folder. Default: ./{SETTINGS_FILE}, where there is "
        "one.",
    )


def _settings_file(
    context: click.Context, parameter: click.Parameter, file: Path | None
) -> Path | None:
    """The file of --config; without it the one that lies where the command is called."""
    here = Path(SETTINGS_FILE)
    if file is not None or context.resilient_parsing or not os.path.lexists(here):
        return file
    return here.absolute()


def preset_texts() -> dict[str, str]:
    """What each preset is for: the first sentence of its docstring, by its name.

    They are read from the source: to import the presets takes longer than all the rest of a help
    text.
    """
    source = resources.files("pipeline.definition").joinpath("presets.py").read_text()
    texts = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and not node.args.args:
            first, *_ = (ast.get_docstring(node) or "").split("\n\n")
            texts[node.name] = " ".join(first.split()).removesuffix(".")
    return texts
