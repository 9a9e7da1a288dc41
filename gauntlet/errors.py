"""How a command ends: errors to messages and exit codes, the same for all of them."""

import contextlib
from collections.abc import Callable

import click

from foundation.errors import INTERRUPTED, ConfigError, GauntletError, RefusedData
from foundation.stopping import Stopped, heard, listening
from gauntlet.loudness import complain

GO_ON = "run the same command again: finished work is not repeated"


def ended(command: Callable[[], int | None]) -> int:
    """Run a command; returns its exit code, which is 0 unless the command says otherwise.

    What a user can understand is shown without a traceback. SIGTERM and SIGHUP end it as Ctrl-C
    does.
    """
    try:
        with listening():
            return command() or 0
    except ConfigError as error:
        return _told("wrong usage:", error, error.exit_code)
    except RefusedData as error:
        return _told("data refused:", error, error.exit_code)
    except (GauntletError, OSError) as error:
        if isinstance(error, OSError) and heard():  # its terminal went away with the signal
            return INTERRUPTED
        return _told("failed:", error, getattr(error, "exit_code", GauntletError.exit_code))
    except KeyboardInterrupt as stop:
        with contextlib.suppress(OSError):  # the terminal has gone
            complain(f"{stop if isinstance(stop, Stopped) else Stopped()}; {GO_ON}")
        return INTERRUPTED


def _told(what: str, error: Exception, code: int) -> int:
    complain(f"{click.style(what, fg='red')} {error}")
    return code
