"""Paths that libraries would read as patterns: TensorFlow, TFX, tfds and Beam look for files by
globs, and put the user's own folder in front of them. A root `w*y` beside a root `wQy` was trained
on both."""

import atexit
import contextlib
import datetime
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from foundation.errors import ConfigError

PATTERN = r"\[\]*?\\"
"""Letters that mean something in a glob; inside of a character class of a regular expression."""

LETTERS = re.compile(f"[{PATTERN}]")


def check_no_pattern(what: str, path: str | Path) -> None:
    """Raises ConfigError for a folder in which libraries would look for other files as well. what:
    option or variable that names it."""
    if letter := LETTERS.search(str(path)):
        raise ConfigError(
            f"{what} {path}: TensorFlow and Beam take {letter[0]!r} in a path for a pattern, and "
            "would read the files of other folders, or none; name a folder without [ ] * ? and \\"
        )


def plain_path(path: Path) -> Path:
    """The path under which TensorFlow opens this very file or folder: where it looks like a
    pattern, a link without such letters, which lives as long as this process."""
    if not LETTERS.search(str(path)):
        return path
    folder = tempfile.mkdtemp(prefix=temporary("link"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder, LETTERS.sub("_", path.name))
    link.symlink_to(path.absolute())
    return link


def temporary(kind: str) -> str:
    """The beginning of a name for a temporary folder of this process, by which `abandoned_folders`
    knows it once the process was killed."""
    return f"gauntlet-{kind}-{os.getpid()}-"


def abandoned_folders(parent: Path, quiet: datetime.timedelta) -> Iterator[Path]:
    """Temporary folders of this user whose processes have gone, as far as can be seen from here: a
    container beside this one numbers its processes alike, so none that was made within `quiet`."""
    limit = datetime.datetime.now().timestamp() - quiet.total_seconds()
    for path in sorted(parent.glob("gauntlet-*")):
        named = re.fullmatch(r"gauntlet-[a-z]+-(\d+)-\w+", path.name)
        with contextlib.suppress(FileNotFoundError):
            status = path.lstat()
            ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
            if named and ours and status.st_mtime < limit and not _is_alive(int(named[1])):
                yield path


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
