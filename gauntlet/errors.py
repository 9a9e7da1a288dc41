"""Errors to messages and exit codes, the same for every command."""

import functools
from collections.abc import Callable
from typing import ParamSpec

from rich.console import Console
from rich.markup import escape

from foundation.errors import ConfigError, GauntletError

FAILURE, USAGE, REFUSED = 1, 2, 3
P = ParamSpec("P")


def exit_code(command: Callable[P, int]) -> Callable[P, int]:
    """Wrap a command: what a user can understand is shown without a traceback and becomes an exit
    code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> int:
        errors = Console(stderr=True)
        try:
            return command(*args, **kwargs)
        except ConfigError as error:
            errors.print(
                f"[red]wrong usage:[/] {escape(str(error))}", highlight=False, soft_wrap=True
            )
            return USAGE
        except (GauntletError, OSError) as error:
            errors.print(f"[red]failed:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
            return FAILURE
        except KeyboardInterrupt:
            errors.print("interrupted; run the same command again: finished work is not repeated")
            return FAILURE

    return wrapped
