"""Messages and exit codes of whatever a command may end with."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from foundation.errors import REFUSED, ConfigError, DataError, RefusedData, RunError
from gauntlet.cli import LazyGroup

INTERRUPTED = "interrupted; run the same command again: finished work is not repeated\n"


def ending(outcome: Any) -> click.Group:
    """A group whose only command ends so."""

    @click.command
    def command() -> Any:
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    class Group(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
            return command

    return Group(name="gauntlet")


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (None, 0, ""),
        (REFUSED, 3, ""),
        (ConfigError("the [setting]"), 2, "wrong usage: the [setting]\n"),
        (DataError("the data"), 1, "failed: the data\n"),
        (RefusedData("the data"), 4, "data refused: the data\n"),
        (RunError("the run"), 1, "failed: the run\n"),
        (OSError(28, "No space left on device"), 1, "failed: [Errno 28] No space left on device\n"),
        (KeyboardInterrupt(), 130, INTERRUPTED),
    ],
    ids=["done", "refused", "usage", "data", "refused data", "run", "disk", "interrupted"],
)
def test_how_a_command_ends(outcome: Any, code: int, message: str) -> None:
    done = CliRunner().invoke(ending(outcome), ["command"])
    assert (done.exit_code, done.stderr, done.stdout) == (code, message, "")


def test_a_defect_of_ours_is_not_hidden() -> None:
    done = CliRunner().invoke(ending(KeyError("x")), ["command"])
    assert isinstance(done.exception, KeyError)
