"""Options that several commands have, and what a command makes of them."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from gauntlet.parameters import EXISTING_ROOT, OUTPUT_FILE

Command = Callable[..., int | None]
R = TypeVar("R")

DEFAULT_ROOT = "runs"


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


def root_option(command: Command) -> Command:
    """--root of a pipeline that has run: a `Root`."""
    return click.option(
        "--root",
        type=EXISTING_ROOT,
        default=DEFAULT_ROOT,
        show_default=True,
        help="Root of the pipeline, as for `gauntlet run`.",
    )(command)


def json_option(what: str) -> Callable[[Command], Command]:
    """--json, which writes `what` into a file."""
    return click.option(
        "--json",
        "json_file",
        type=OUTPUT_FILE,
        default=None,
        help=f"Also write {what} here.",
    )
