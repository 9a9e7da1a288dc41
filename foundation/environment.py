"""What shell and home folder may not decide: the environment of every process that computes.

Libraries read settings where nobody expects them: Keras in `~/.keras/keras.json`, TensorFlow and
Python in dozens of variables. What would change numbers or how our files are read is pinned here or
left out; what a user may well want and changes numbers is named, for the keys of caches.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import RunError
from foundation.paths import check_no_pattern

ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",  # a folder named `trainer` where the user stands must not win over ours
    "PYTHONUNBUFFERED": "1",  # what a process wrote before it was killed is in its log
    "PYTHONUTF8": "1",  # names of files and classes, whatever the locale
    "PYTHONHASHSEED": "0",  # sets have one order
    "TF_USE_LEGACY_KERAS": "1",  # NSL needs Keras 2, decided when TensorFlow is imported
    "KERAS_BACKEND": "tensorflow",
    "KERAS_HOME": "/dev/null",  # no folder, so no keras.json is read, and none is written
    "MPLBACKEND": "agg",  # pictures are files
}
"""What every process gets before it imports anything."""

DEFAULTS = {"TF_CPP_MIN_LOG_LEVEL": "1"}  # warnings and errors of TensorFlow's C++
"""What every process gets where the user has not chosen; it changes no number and no file."""

LEFT_OUT = (
    "PYTHONOPTIMIZE",  # takes assertions and docstrings out of libraries that need them
    "PYTHONWARNINGS",  # `error` ends in a library's first deprecation
    "KERAS_MAX_EPOCHS",
    "KERAS_MAX_STEPS_PER_EPOCH",
    "KERAS_NNX_ENABLED",
    "TF_XLA_FLAGS",
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_ENABLE_AUTO_MIXED_PRECISION",
    "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE",
    "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE_IGNORE_PERFORMANCE",
)
"""Variables that no process gets."""

THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
"""Numbers of threads; one that is no number above 0 is left out, as libraries disagree on it."""

CHANGE_NUMBERS = (
    "NVIDIA_TF32_OVERRIDE",
    "TF_CUDNN_DETERMINISTIC",
    "TF_DETERMINISTIC_OPS",
    "XLA_FLAGS",
)
"""Variables that a user may set, and that change what comes out in the last digits."""

ROOM = 64 * 2**20
"""Bytes that must be free where temporary files go."""


def child_environment(given: Mapping[str, str], more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of ours.

    Args:
        given: that of this process.
        more: what this one child gets besides.
    """
    kept = {
        name: value
        for name, value in given.items()
        if name not in LEFT_OUT and (name not in THREADS or _is_count(value))
    }
    return {**DEFAULTS, **kept, **_person(given), **ENVIRONMENT, **more}


def _person(given: Mapping[str, str]) -> dict[str, str]:
    """Home and name, which libraries ask for, of a user whom the system does not know."""
    if given.get("HOME") and any(given.get(name) for name in ("LOGNAME", "USER")):
        return {}
    user = os.getuid()
    try:
        known = pwd.getpwuid(user)
    except KeyError:
        home, name = str(Path(tempfile.gettempdir(), f"gauntlet-home-{user}")), f"user-{user}"
    else:
        home, name = known.pw_dir, known.pw_name
    return {
        "HOME": given.get("HOME") or home,
        "LOGNAME": given.get("LOGNAME") or given.get("USER") or name,
    }


def numbers(given: Mapping[str, str]) -> str:
    """What of an environment changes numbers: part of the key of whatever is computed in it."""
    return " ".join(f"{name}={given[name]}" for name in CHANGE_NUMBERS if given.get(name))


@contextmanager
def unset(names: Iterable[str]) -> Iterator[None]:
    """Variables are not set meanwhile: a key of what other machines will compute does not see this
    shell."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


def overruled(given: Mapping[str, str]) -> list[str]:
    """Variables of Keras and TensorFlow that a user set to something else than processes get."""
    used = child_environment(given, {})
    return [
        f"{name}={value}"
        for name, value in sorted(given.items())
        if name.startswith(("KERAS_", "TF_")) and used.get(name) != value
    ]  # fmt: skip


def check_temporary_folder() -> None:
    """Python would silently take another folder for one that it cannot use.

    Raises:
        ConfigError: its name looks like a pattern.
        RunError: it is missing, cannot be written, or has no room.
    """
    named = os.environ.get("TMPDIR")
    advice = "set TMPDIR to a folder that you can write, with room"
    try:
        folder = named or tempfile.gettempdir()
        check_no_pattern("TMPDIR", folder)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        where = f"TMPDIR={named}" if named else "the folder of temporary files"
        raise RunError(f"{where} cannot be used: {error.strerror}; {advice}") from error
    if free < ROOM:
        raise RunError(
            f"{folder}, where temporary files go, has {free / 2**20:.0f} MB left, expected "
            f"{ROOM / 2**20:.0f}; make room, or {advice}"
        )


def _is_count(text: str) -> bool:
    """Whether it is a number above 0, or for OpenMP one for each level."""
    return all(part.strip().isdecimal() and int(part) > 0 for part in text.split(","))
