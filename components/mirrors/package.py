"""The tar file of a package from outside, which may be damaged or made to do harm."""

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from foundation.errors import DataError

MOST_BYTES_OF_ONE = 1032
"""What deflate makes of a byte at most: a payload that is larger was never in its archive."""

_DAMAGE = (
    tarfile.TarError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    ValueError,
    OverflowError,
    MemoryError,
)
"""What Python's readers of tar, gzip and xz raise at bytes that no writer made."""


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Read a package of this name; DataError says that it is damaged where it cannot be read."""
    try:
        yield
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{name} is damaged: {reason}") from error


def open_member(package: tarfile.TarFile, title: str, member: str, most: int) -> IO[bytes]:
    """A file of a package.

    Args:
        package: its tar file.
        title: what the user calls the package.
        member: path of the file in it.
        most: bytes that it may have.

    Raises:
        DataError: there is no such file, or it is something else, or too large.
    """
    try:
        info = package.getmember(member)
    except KeyError as error:
        raise DataError(f"{title} lacks the file {member}") from error
    source = package.extractfile(info) if info.isreg() else None
    if source is None:
        raise DataError(f"{title}: {member} in it is no file")
    if not 0 <= info.size <= most:
        raise DataError(f"{title}: {member} has {info.size:,} bytes, expected at most {most:,}")
    return source
