"""Writing into a TFDS root so that neither an interruption nor a second process can spoil it.

One lock per root and data set; work happens in a temporary folder inside the root, on the same file
system, so that the caller can move its result into place with one rename.
"""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import filelock

from foundation.errors import DataError

log = logging.getLogger("gauntlet.data")


@contextlib.contextmanager
def exclusive(root: Path, name: str) -> Iterator[None]:
    """Hold the lock of data set `name` in `root`, creating `root`; waits for other processes.

    The operating system frees the lock of a process that dies. Raises DataError when `root` cannot
    be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(root / f"{_prefix(name)}.lock")
        _acquire(lock, root)
    except OSError as error:
        raise DataError(_unwritable(root, error)) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def work_folder(root: Path, name: str) -> Iterator[Path]:
    """A temporary folder inside `root`; call with the lock held: it clears earlier left-overs.

    Raises DataError when `root` cannot be written.
    """
    prefix = f"{_prefix(name)}.work-"
    for left_over in root.glob(f"{prefix}*"):
        log.info("removing what an interrupted run left: %s", left_over)
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        work = Path(tempfile.mkdtemp(prefix=prefix, dir=root))
    except OSError as error:
        raise DataError(_unwritable(root, error)) from error
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def is_writable(root: Path) -> bool:
    """Whether files can be made in `root`, which is created if it does not exist."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            return True
    except OSError:
        return False


def _acquire(lock: filelock.BaseFileLock, root: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.info("waiting for another process that prepares data in %s", root)
        lock.acquire()


def _prefix(name: str) -> str:
    return f".gauntlet-{name.replace('/', '-')}"


def _unwritable(root: Path, error: OSError) -> str:
    return (
        f"data_dir {root} cannot be written: {error.strerror or error}. "
        "Expected a folder that you may write to, or data that is already prepared"
    )
