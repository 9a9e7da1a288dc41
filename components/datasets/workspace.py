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

from foundation.errors import DataError
from foundation.locks import lock

log = logging.getLogger("gauntlet.data")


SECONDS_TO_WAIT = 3600.0
"""How long another process may prepare data before who waits for it gives up."""


@contextlib.contextmanager
def exclusive(root: Path, name: str) -> Iterator[None]:
    """Hold the lock of data set `name` in `root`, creating `root`; waits for other processes.

    Raises:
        DataError: `root` cannot be written.
        RunError: another process has prepared it for too long, or `root` knows no locks.
    """
    with contextlib.ExitStack() as held:
        try:
            root.mkdir(parents=True, exist_ok=True)
            held.enter_context(
                lock(
                    root / f"{_prefix(name)}.lock",
                    f"another process prepares {name} in {root}",
                    SECONDS_TO_WAIT,
                    "end that process if it hangs, or name another --data-dir",
                )
            )
        except OSError as error:
            raise DataError(_unwritable(root, error)) from error
        yield


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


def _prefix(name: str) -> str:
    return f".gauntlet-{name.replace('/', '-')}"


def _unwritable(root: Path, error: OSError) -> str:
    return (
        f"data_dir {root} cannot be written: {error.strerror or error}. "
        "Expected a folder that you may write to, or data that is already prepared"
    )
