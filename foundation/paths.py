"""Paths that libraries would read as patterns: TensorFlow, TFX, tfds and Beam look for files by
globs, and put the user's own folder in front of them. A root `w*y` beside a root `wQy` was trained
on both."""

import atexit
import re
import shutil
import tempfile
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
    folder = tempfile.mkdtemp(prefix="gauntlet-link-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = Path(folder, LETTERS.sub("_", path.name))
    link.symlink_to(path.absolute())
    return link
