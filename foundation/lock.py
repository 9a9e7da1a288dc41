"""Locks between processes, also of several users: a file that the system locks for its holder.

The system forgets the lock of a process that has died, so none is ever stale. The file says who
holds it, for the message of whoever waits.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import RunError
from foundation.events import Fields

TAKEN = (errno.EAGAIN, errno.EACCES)
"""Error numbers of a lock that somebody else holds."""

WITHOUT_A_WORD = 2.0
"""Seconds of waiting before that is said."""

BETWEEN_TRIES = 0.1

LOCK = ".lock"
"""File of a folder whose lock is held by whoever works on it."""

PATIENCE = 60.0
"""Seconds to wait for the lock of a folder of versions."""

_held = threading.local()

log = logging.getLogger("gauntlet.lock")


@contextmanager
def locked(file: Path, in_use: str, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock of a file, which is created where there is none.

    Args:
        file: its folder is there.
        in_use: message for a user whose lock somebody else holds.
        patience: seconds to wait for it.

    Raises:
        RunError: with that message and who holds it; or the file system has no locks.
    """
    descriptor = _opened(file)
    try:
        _acquire(descriptor, file, in_use, patience)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


@contextmanager
def serving_lock(base: str) -> Iterator[None]:
    """Nobody else changes the versions of a folder meanwhile, nor the blessings of its root; taken
    for moments, and again by who holds it. An object store has no locks: numbers are claimed there.

    base: folder of the versions.

    Raises:
        RunError: somebody else holds it for longer than a minute.
    """
    mine: set[str] = _held.__dict__.setdefault("bases", set())
    if "://" in base or base in mine or not os.path.isdir(base):
        yield
        return
    in_use = f"somebody else is changing the versions in {base}"
    with locked(Path(base) / LOCK, in_use, PATIENCE):
        mine.add(base)
        try:
            yield
        finally:
            mine.discard(base)


def _opened(file: Path) -> int:
    """Whoever may write into the folder may take the lock, whoever made the file."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        return os.open(file, os.O_RDONLY)
    if os.stat(file.parent).st_mode & stat.S_IWGRP:
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, os.fstat(descriptor).st_mode | 0o660)
    return descriptor


def _acquire(descriptor: int, file: Path, in_use: str, patience: float) -> None:
    begin = time.monotonic()
    said = False
    while not _try(descriptor, file):
        waited = time.monotonic() - begin
        if waited >= patience:
            raise RunError(f"{in_use}{_holder(descriptor)}")
        if not said and waited >= WITHOUT_A_WORD:
            said = True
            log.info("waiting: %s%s", in_use, _holder(descriptor), extra=Fields(stays=True))
        time.sleep(BETWEEN_TRIES)


def _try(descriptor: int, file: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        raise RunError(
            f"the file system of {file} has no locks ({error.strerror}), so two at once could not "
            "be told from one; use a folder on another file system, such as a disk of this machine"
        ) from error
    return True


def _sign(descriptor: int) -> None:
    """Write who holds the lock; a user who may only read the file cannot."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder, allow_nan=False).encode(), 0)


def _holder(descriptor: int) -> str:
    """Who holds the lock, as far as the file says."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return " (held by process {pid} on {host} since {since})".format(**holder)
    except (OSError, ValueError, TypeError, KeyError):
        return ""
