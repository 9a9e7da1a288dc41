"""Numbered versions of a model in one folder, of which TensorFlow Serving takes the highest.

A numbered folder is a version when it holds `saved_model.pb`: a push to an object store writes that
file last, so what has it is whole.

Read without TensorFlow; on an object store it needs TensorFlow's or fsspec's access to that.
"""

import re
import shutil
from pathlib import Path

from etils import epath

from foundation.locks import serving_lock

SAVED_MODEL = "saved_model.pb"
"""File that makes a numbered folder a version."""

STAGING = ".staging-"
"""Prefix of the folders in which a push is prepared; a killed push leaves one."""

STORED_AT = "stored_at"
"""Custom property of an artifact whose files were brought to a local folder: its own URI."""


def versions(base: str) -> list[str]:
    """The numbers of all versions, oldest first; none where there is no such folder."""
    return [number for number in numbers(base) if _is_whole(base, number)]


def newest_version(base: str) -> str | None:
    """The number of the version that is served; None where there is none."""
    return next((number for number in reversed(numbers(base)) if _is_whole(base, number)), None)


def numbers(base: str) -> list[str]:
    """The numbered folders, lowest first, also those that a push has not completed."""
    folder = epath.Path(base)
    names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    return sorted((name for name in names if is_number(name)), key=int)


def left_over(base: str) -> list[Path]:
    """What killed pushes have left in a folder; an object store is not looked through. Call it
    under the lock of the versions: nobody prepares one without it."""
    return [] if "://" in base else sorted(Path(base).glob(f"{STAGING}*"))


def sweep(base: str) -> None:
    """Remove what killed pushes have left, as far as that can be done."""
    with serving_lock(base):
        for folder in left_over(base):
            shutil.rmtree(folder, ignore_errors=True)


def is_number(name: str) -> bool:
    """Whether a name is the number of a version, written as we write it, and TensorFlow Serving
    can read it: of 64 bits."""
    return bool(re.fullmatch(r"[1-9][0-9]{0,18}", name, re.ASCII)) and int(name) < 2**63


def _is_whole(base: str, number: str) -> bool:
    return bool((epath.Path(base) / number / SAVED_MODEL).exists())
