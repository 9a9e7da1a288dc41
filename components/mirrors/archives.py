"""Official archives: finding them in a folder, checking them, and packing them byte for byte.

TFDS accepts an archive only with the SHA-256 that it recorded, so a mirror that ships other
packaging must rebuild the very same bytes. Knows gzip and checksums, not where the payload is from.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import DataError
from foundation.process import leashed

_GZIP_MAGIC_DEFLATE = b"\x1f\x8b\x08"
_FLAG_NAME = b"\x08"
_DEFAULT_LEVEL_UNIX = b"\x00\x03"
BARE_HEADER_SIZE = 10


@dataclass(frozen=True, kw_only=True)
class Checksum:
    """What TFDS recorded about one archive."""

    sha256: str
    size: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One official archive: its file name, and what its gzip header says of the original."""

    file: str
    original_name: str
    mtime: int

    def header(self) -> bytes:
        """The gzip header (RFC 1952) with name and time, as `gzip` on Unix wrote it."""
        time = self.mtime.to_bytes(4, "little")
        name = self.original_name.encode("latin-1") + b"\x00"
        return _GZIP_MAGIC_DEFLATE + _FLAG_NAME + time + _DEFAULT_LEVEL_UNIX + name


def deflate(payload: Path) -> bytes:
    """Compress a file with the gzip program; returns the stream without its 10 byte header.

    zlib's level 6 (Python's `gzip`) finds other matches than GNU gzip's, hence the program.
    Raises DataError when gzip is not installed or fails.
    """
    program = shutil.which("gzip")
    if program is None:
        raise DataError(
            "the program gzip is not installed; install GNU gzip (apt-get install gzip)"
        )
    # gzip reads options from the variable GZIP too; a user's GZIP=-9 would change the bytes.
    environment = {key: value for key, value in os.environ.items() if key != "GZIP"}
    command = [program, "-6", "--no-name", "--stdout"]
    with payload.open("rb") as stream:
        result = subprocess.run(
            leashed(command), stdin=stream, capture_output=True, env=environment
        )
    if result.returncode != 0:
        error = result.stderr.decode(errors="replace").strip()
        raise DataError(f"{' '.join(command)} failed on {payload.name}: {error}")
    return result.stdout[BARE_HEADER_SIZE:]


def store(archive: Archive, body: bytes, folder: Path, checksum: Checksum) -> Path:
    """Write header and compressed `body` as `folder/archive.file`.

    Raises DataError when the result is not the official archive: the payload differs, or it was
    compressed by another program than GNU gzip.
    """
    path = folder / archive.file
    path.write_bytes(archive.header() + body)
    problem = mismatch(path, checksum)
    if problem:
        raise DataError(
            f"rebuilt {archive.file} is not the official archive: {problem} "
            f"(needs GNU gzip, this is {_gzip_version()!r})"
        )
    return path


def find(folder: Path, checksums: Mapping[str, Checksum]) -> dict[str, Path]:
    """The files of `folder` that are, by their names, archives or unpacked archives."""
    wanted = {*checksums, *(name.removesuffix(".gz") for name in checksums)}
    return {name: folder / name for name in sorted(wanted) if (folder / name).is_file()}


def check(folder: Path, checksums: Mapping[str, Checksum]) -> None:
    """Raise DataError unless `folder` holds every archive with the recorded SHA-256."""
    missing = [name for name in checksums if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} lacks {', '.join(missing)}. Expected: {', '.join(checksums)}. "
            f"Found: {', '.join(find(folder, checksums))}. Add what is missing (from "
            f"{', '.join(checksums[name].url for name in missing)}), or pass another folder."
        )
    for name, checksum in checksums.items():
        problem = mismatch(folder / name, checksum)
        if problem:
            raise DataError(
                f"{folder / name} is not the official archive: {problem}. "
                f"Replace it by {checksum.url}, or pass another folder."
            )


def mismatch(path: Path, checksum: Checksum) -> str | None:
    """How `path` differs from what TFDS recorded, or None when it is the very same file."""
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if found == checksum.sha256:
        return None
    return (
        f"expected SHA-256 {checksum.sha256} ({checksum.size} bytes), "
        f"found {found} ({path.stat().st_size} bytes)"
    )


def _gzip_version() -> str:
    """The first line of `gzip --version`: tells GNU gzip from Apple's, BusyBox's and pigz."""
    program = shutil.which("gzip")
    if program is None:
        return "not installed"
    command = [program, "--version"]
    result = subprocess.run(leashed(command), stdin=subprocess.DEVNULL, capture_output=True)
    return (result.stdout or result.stderr).decode(errors="replace").strip().partition("\n")[0]
