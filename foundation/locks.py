"""Locks between processes, by files: who has to wait reads for whom, and waiting ends.

The kernel frees the lock of a process that dies, however that happens, so that no lock is stale.
The file itself stays: a lock on a removed file would be no lock.
"""

import contextlib
import datetime
import errno
import fcntl
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from foundation.errors import RunError
from foundation.events import Fields
from foundation.rights import give, make_folder, of_file

LOCK = ".lock"
"""File of a folder whose lock is held by whoever works on it."""

PATIENCE = 60.0
"""Seconds to wait for the lock of a folder of versions."""

SECONDS_BEFORE_TELLING = 2.0
SECONDS_BETWEEN_TRIES = 0.1

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""What a file system says that has none."""

SINCE = "%Y-%m-%d %H:%M:%S UTC"
"""How a holder writes when it has taken the lock."""

_held = threading.local()

log = logging.getLogger("gauntlet.locks")


@contextlib.contextmanager
def lock(
    path: Path,
    what: str,
    wait_seconds: float = 0.0,
    advice: str = "wait for it, or end that process",
) -> Iterator[None]:
    """Hold the lock of a file, which is made where there is none; whoever may write in its folder
    may hold it.

    Args:
        path: the file; nothing else is kept in it.
        what: sentence on whoever holds it, such as "another run is under way in runs".
        wait_seconds: time to wait for the holder; a person is told of it after two seconds.
        advice: end of the sentence for a user who shall not wait longer.

    Raises:
        RunError: somebody else held it all that time, or the file system knows no locks.
        OSError: the file cannot be made or opened.
    """
    descriptor = _acquired(path, what, wait_seconds, advice)
    try:
        with contextlib.suppress(OSError):  # of another user, who may only be named by us
            os.ftruncate(descriptor, 0)  # a killed holder's text may be longer
            os.pwrite(descriptor, _ourselves().encode(), 0)
        yield
    finally:
        with contextlib.suppress(OSError):  # a full disk
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


@contextlib.contextmanager
def serving_lock(base: str) -> Iterator[None]:
    """Nobody else changes the versions of a folder meanwhile, nor the blessings of its root; taken
    for moments, and again by who holds it. An object store has no locks: numbers are claimed there.

    base: folder of the versions, which is made where there is none: without it nobody could hold
        its lock.

    Raises:
        RunError: somebody else holds it for longer than a minute, or it cannot be locked.
    """
    mine: set[str] = _held.__dict__.setdefault("bases", set())
    if "://" in base or base in mine:
        yield
        return
    make_folder(Path(base))
    what = f"somebody else is changing the versions in {base}"
    with lock(Path(base) / LOCK, what, PATIENCE, "try again, or end that process if it hangs"):
        mine.add(base)
        try:
            yield
        finally:
            mine.discard(base)


@contextlib.contextmanager
def reading(base: str) -> Iterator[None]:
    """What this thread does meanwhile with the versions of a folder only reads them: it takes no
    `serving_lock`, which would write there."""
    mine: set[str] = _held.__dict__.setdefault("bases", set())
    was_there = base in mine
    mine.add(base)
    try:
        yield
    finally:
        if not was_there:
            mine.discard(base)


def held_since(path: Path) -> datetime.datetime | None:
    """When whoever holds a lock has taken it, to the second; None where nobody does, or has not
    said it yet.

    What a killed holder left of itself is told by taking the lock for a moment. Where nothing is
    left, it is not touched: a run that begins just then would be refused.
    """
    with contextlib.suppress(OSError, ValueError):
        _, _, since = path.read_text(errors="replace").rpartition(" since ")
        began = datetime.datetime.strptime(since, SINCE)
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return began.replace(tzinfo=datetime.UTC)
    return None


def _acquired(path: Path, what: str, wait_seconds: float, advice: str) -> int:
    begin, told = time.monotonic(), False
    while (descriptor := _tried(path)) is None:
        waited = time.monotonic() - begin
        if waited >= wait_seconds:
            after = f", for which this one has waited {waited:.0f} s" if wait_seconds else ""
            raise RunError(f"{what} ({_holder(path)}){after}; {advice}")
        if waited >= SECONDS_BEFORE_TELLING and not told:
            told = True
            log.info(
                "%s (%s): waiting for it, at most %.0f s",
                what, _holder(path), wait_seconds, extra=Fields(stays=True),
            )  # fmt: skip
        time.sleep(min(SECONDS_BETWEEN_TRIES, wait_seconds - waited))
    return descriptor


def _tried(path: Path) -> int | None:
    """The open file with the lock, or None where somebody else holds it."""
    descriptor = _opened(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(descriptor, path):
            return descriptor
    except BlockingIOError:
        pass
    except OSError as error:
        os.close(descriptor)
        if error.errno == errno.EBADF:  # NFS locks only what is open to be written
            raise RunError(
                f"{path} cannot be locked: it belongs to {_owner(path)}, this process may not "
                "write it, and its file system locks nothing else; have its owner or its group's "
                "rights changed, or remove the file while nobody works there"
            ) from error
        if error.errno in NO_LOCKS:
            raise RunError(
                f"{path} cannot be locked ({error.strerror}): its file system keeps no two "
                "processes apart; use a folder on another one, such as a local disk"
            ) from error
        raise
    os.close(descriptor)
    return None


def _opened(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        try:
            return os.open(path, os.O_RDWR)
        except PermissionError:  # of another user; the kernel locks what can be read
            return os.open(path, os.O_RDONLY)
    give(descriptor, of_file(path.parent))
    return descriptor


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the file is still the one of that name: somebody may have removed it meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _owner(path: Path) -> str:
    with contextlib.suppress(KeyError):
        return path.owner()
    return f"uid {path.stat().st_uid}"


def _ourselves() -> str:
    now = datetime.datetime.now(datetime.UTC)
    return f"process {os.getpid()} on {socket.gethostname()} since {now.strftime(SINCE)}"


def _holder(path: Path) -> str:
    """What the holder wrote of itself: nothing yet, or nothing any more, in a short moment."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace") or "another process"
    return "another process"
