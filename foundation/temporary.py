"""A folder for the temporary files of one process, which outlives us only where we are killed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "gauntlet-child-"

SECONDS_TO_LOCK = 60.0
"""Age below which a folder may be one whose owner is about to lock it."""


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new folder, removed with all that is in it; first those that were left by killed processes
    of this user. A lock on the folder, which the kernel frees, tells whether its owner lives."""
    _remove_left_overs(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: it is never a left-over
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _remove_left_overs(place: Path) -> None:
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or somebody else removes it too
            status = folder.stat()
            if status.st_uid == os.getuid() and status.st_mtime < time.time() - SECONDS_TO_LOCK:
                _remove_unless_held(folder)


def _remove_unless_held(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
