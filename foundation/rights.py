"""Rights of what is made in a folder: those of the folder, whatever the umask of this process.

A file system that refuses to change them keeps its own.
"""

import contextlib
import os
import stat
from pathlib import Path

from foundation.whole import sync


def give_file(made: Path | int, folder: Path) -> None:
    """Whoever may read or write in the folder may do so with the file. made: path or descriptor."""
    give(made, stat.S_IMODE(folder.stat().st_mode) & 0o666 | 0o600)


def give(made: Path | int, mode: int) -> None:
    """Change the mode of a file or folder, where that can be done."""
    with contextlib.suppress(OSError):
        os.chmod(made, mode)


def make_folder(folder: Path) -> None:
    """Make a folder, where there is none, for all who may read the one that it is in."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    give(folder, stat.S_IMODE(folder.parent.stat().st_mode) & 0o2775 | 0o700)
    sync(folder.parent)
