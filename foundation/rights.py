"""Rights of what is made in a folder: those of the folder, whatever the umask of this process.

A file system that refuses to change them keeps its own.
"""

import contextlib
import os
import stat
from pathlib import Path

from foundation.whole import sync


def of_file(folder: Path) -> int:
    """Mode of a file which whoever may read or write in the folder may read or write."""
    return stat.S_IMODE(folder.stat().st_mode) & 0o666 | 0o600


def give(made: Path | int, mode: int) -> None:
    """Change the mode of what has been made, where that can be done. made: path or descriptor."""
    with contextlib.suppress(OSError):
        if isinstance(made, int):
            os.fchmod(made, mode)
        else:
            os.chmod(made, mode)


def make_folder(folder: Path) -> None:
    """Make a folder, where there is none, for all who may read the one that it is in."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return
    give(folder, stat.S_IMODE(folder.parent.stat().st_mode) & 0o2775 | 0o700)
    sync(folder.parent)
