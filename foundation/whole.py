"""Files that are written whole or not at all, whatever ends the process or the machine."""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

STDOUT, STDERR = 1, 2

CANNOT_BE_REPLACED = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.EROFS)
"""What a file says that cannot give way to another: it is mounted by itself, or its folder is not
ours."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Have `write` fill a file beside `path`, and move it into place when it is whole and on the
    disk.

    Raises:
        OSError: it could not be written; what was at `path` is there still.
    """
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial{path.suffix}")
    try:
        write(partial)
        sync(partial)
        partial.rename(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str, mode: int | None = None) -> None:
    """Write a text file whole or not at all. mode: of a new one; None for what the umask leaves.

    In an object store one write is whole already. A pipe or a device, such as /dev/stdout, and a
    file that cannot be replaced get the text as they are.

    Raises:
        OSError: it could not be written.
    """
    if "://" in str(path):
        from etils import epath  # which every help text would wait for

        epath.Path(path).write_text(text)
    elif is_stream(Path(path)):
        with _stream(Path(path)) as stream:
            stream.write(text.encode())
    else:
        _replace(Path(path).resolve(), text, mode)  # a link stays, and leads to the new file


def is_stream(path: Path) -> bool:
    """Whether something other than a file of its own takes the text: a pipe, a device, or what
    this process prints into."""
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or _printed(path) is not None


def is_stdout(path: Path) -> bool:
    """Whether it is what this process prints into."""
    return path.exists() and _printed(path) == STDOUT


def _printed(path: Path) -> int | None:
    """The descriptor by which this process prints into it already."""
    for descriptor in (STDOUT, STDERR):
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except OSError:  # the descriptor is closed
            continue
    return None


def _stream(path: Path) -> BinaryIO:
    """Opened by its own descriptor where we have that: a second one would begin in front."""
    descriptor = _printed(path)
    return open(path, "wb") if descriptor is None else open(os.dup(descriptor), "wb")


def _replace(path: Path, text: str, mode: int | None) -> None:
    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8")
        with contextlib.suppress(OSError):  # a file system without modes
            if path.exists():
                shutil.copymode(path, partial)
            elif mode is not None:
                partial.chmod(mode)

    try:
        write_whole(path, write)
    except OSError as error:
        if error.errno not in CANNOT_BE_REPLACED or not path.exists():
            raise
        path.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Bring all files of a folder to the disk, and the names of each folder after what is in
    it."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync(Path(parent, name))
        sync(Path(parent))
