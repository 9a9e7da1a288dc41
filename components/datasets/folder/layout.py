"""Where the files of a folder lie, by names alone: SPLIT/CLASS/FILE. Nothing is opened."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from components.datasets.folder.names import is_leftover, readable
from foundation.errors import DataError

SHOWN = 3
"""So many names stand for those of a kind."""

NO_CLASS = "in no folder of a class"
"""Why files between the folders are not taken."""

SPLIT = re.compile(r"[A-Za-z0-9_-]+")
"""Names that tfds takes for splits."""


@dataclass(kw_only=True)
class Unused:
    """Files that are not taken, for one reason: their number, and the first ones."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(readable(name))

    def __str__(self) -> str:
        return f"{self.count:,} ({', '.join(self.first)}{', ...' * (self.count > SHOWN)})"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Files of a folder as paths below it: by split and class, sorted, and by reason those that lie
    where none are expected."""

    files: dict[str, dict[str, list[str]]]
    unused: defaultdict[str, Unused]


def walk(root: Path) -> Layout:
    """List a folder.

    Raises:
        DataError: a part of it cannot be read.
    """
    layout = Layout(files={}, unused=defaultdict(Unused))
    for split in _entries(root):
        if not _is_folder(split):
            layout.unused[NO_CLASS].add(split.name)
        elif SPLIT.fullmatch(split.name):
            layout.files[split.name] = dict(_classes(root, Path(split.path), layout.unused))
        else:
            _set_aside(root, split.path, layout.unused["in a folder whose name is no split's"])
    return layout


def links_out(root: Path) -> list[str]:
    """Links that leave a folder, as paths below it; who follows them reads, and keeps, what lies
    elsewhere."""
    real, found = os.path.realpath(root), []
    for parent, inner, files in os.walk(root):
        inner[:] = sorted(name for name in inner if not is_leftover(name))
        for name in [*inner, *sorted(files)]:
            path = os.path.join(parent, name)
            if os.path.islink(path) and not is_leftover(name) and not _is_below(path, real):
                found.append(os.path.relpath(path, root))
    return found


def _is_below(path: str, real: str) -> bool:
    return os.path.commonpath([os.path.realpath(path), real]) == real


def folders(path: Path) -> list[str]:
    """Names of the folders in a folder, without leftovers of other systems."""
    return [entry.name for entry in _entries(path) if _is_folder(entry)]


def _classes(
    root: Path, split: Path, unused: defaultdict[str, Unused]
) -> Iterator[tuple[str, list[str]]]:
    """Each class of a split with its files."""
    for label in _entries(split):
        if not _is_folder(label):
            unused[NO_CLASS].add(f"{split.name}/{label.name}")
            continue
        files = []
        for entry in _entries(Path(label.path)):
            if _is_folder(entry):
                _set_aside(root, entry.path, unused["in a sub-folder of a class"])
            else:
                files.append(f"{split.name}/{label.name}/{entry.name}")
        yield label.name, files


def _set_aside(root: Path, folder: str, unused: Unused) -> None:
    """Count all files below a folder; links to folders are not followed."""
    for parent, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not is_leftover(name))
        for name in sorted(files):
            if not is_leftover(name):
                unused.add(os.path.relpath(os.path.join(parent, name), root))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not is_leftover(entry.name)]
    except OSError as error:
        raise DataError(f"{readable(path)} cannot be read ({error.strerror})") from error
    return sorted(found, key=lambda entry: entry.name)
