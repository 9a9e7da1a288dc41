"""How much a command says beside its result: `--quiet`, `--verbose`, `--log-json`; and the lines of
the last one. Read without rich, which takes long to import."""

import dataclasses
import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import click

from foundation.errors import ConfigError
from foundation.events import State
from foundation.json import dumps

_KEY = "gauntlet.loudness"
"""Entry of click's context, which a command and its group share."""


class Loudness(StrEnum):
    """How much is said; each except the first is an option of that name."""

    NORMAL = "normal"
    QUIET = "quiet"
    VERBOSE = "verbose"
    LOG_JSON = "log-json"


def loudness() -> Loudness:
    """What the options of the command that runs say."""
    context = click.get_current_context(silent=True)
    return context.meta.get(_KEY, Loudness.NORMAL) if context else Loudness.NORMAL


def choose(context: click.Context, option: click.Parameter, given: bool) -> None:
    """Callback of the options. Raises ConfigError where two are given."""
    if not given:
        return
    wanted = Loudness(option.opts[0].removeprefix("--"))
    before = context.meta.setdefault(_KEY, wanted)
    if before is not wanted:
        raise ConfigError(f"--{before} and --{wanted} exclude each other; give one of them")


def complain(text: str, level: str = "error") -> None:
    """What went wrong, on standard error. text: it may have colours, which a pipe does not get."""
    if loudness() is Loudness.LOG_JSON:
        Line(level=level, message=click.unstyle(text)).write()
    else:
        click.echo(text, err=True)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One object of `--log-json`.

    level: info, warning or error. node, state: what changed, or who speaks; a node that is
    `running` has only told how far it is. seconds: time that it took, once it is over, or so far.
    done, total: counts. seconds_left: estimate.
    """

    level: str
    message: str
    node: str | None = None
    state: State | Literal["running"] | None = None
    seconds: float | None = None
    done: int | None = None
    total: int | None = None
    seconds_left: int | None = None

    def write(self) -> None:
        """To standard error, with the time (UTC)."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        content = {"time": now} | dataclasses.asdict(self)
        click.echo(dumps(content, indent=None), err=True)
