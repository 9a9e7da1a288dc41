"""The first thing that every command does: is this code surrounded by its own packages, and can it
work here?

Imports nothing of ours at first, because a foreign `foundation` may be what is found.
"""

import os
import sys
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path

import click


class ForeignPackage(click.ClickException):
    """Another package of the same name wins over ours: wrong usage."""

    exit_code = 2


def check_packages() -> None:
    """`foundation.identity.check_own_packages`, where `foundation` itself is ours.

    Raises:
        ForeignPackage: one of our packages is foreign; the message says what to do.
    """
    home = Path(__file__).resolve().parents[1]
    spec = find_spec("foundation")
    assert spec
    (place, *_) = spec.submodule_search_locations or [str(spec.origin)]
    if Path(place).resolve().parent != home:
        raise ForeignPackage(
            f"Python finds another package foundation in {place} before Gauntlet's own in {home}; "
            "take it off Python's path (PYTHONPATH, the current directory, installed packages)"
        )
    from foundation.errors import ConfigError
    from foundation.identity import check_own_packages

    try:
        check_own_packages()
    except ConfigError as error:
        raise ForeignPackage(str(error)) from error


def speak_utf8() -> None:
    """Names of files and classes are UTF-8, whatever the locale says: where Python took another
    encoding from it, begin again in UTF-8. A terminal that has no such letter gets its number."""
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding != "utf-8":
            stream.reconfigure(errors="backslashreplace")
