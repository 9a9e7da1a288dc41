"""The manifest of a version: all its files with sizes and SHA-256, so that a change is seen.

The text is the same for the same files, so its own digest says what the model is, wherever it lies:
that of an export is that of every version that was pushed from it. The manifest itself, the card
and the claims of pushes to an object store are not listed. Read without TensorFlow; on an object
store it needs TensorFlow's or fsspec's access to that.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

import pydantic
from etils import epath

from foundation.errors import RunError
from foundation.json import dumps

EXTRA = "assets.extra"
"""Folder of a SavedModel whose files the server does not look at."""

CARD = f"{EXTRA}/gauntlet.json"
"""File in a pushed version with its card."""

MANIFEST = f"{EXTRA}/manifest.json"

CLAIM = f"{EXTRA}/claim-"
"""Prefix of the object by which a push to an object store holds a number."""

MODEL_SHA256 = "model_sha256"
"""Custom property of what says something of a model: digest of the files that it looked at, of a
blessing those that were judged, of a pushed model those that are served."""

PIECE = 2**20
"""Bytes that are read at once."""


@dataclass(frozen=True, kw_only=True, order=True)
class File:
    """One file. path: relative to the version. size: bytes."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Files in the order of their paths. odd: sentences on what is in the folder and is no file."""

    files: list[File]
    odd: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The content of the file."""
        return dumps({"files": self.files})


def manifest_of(folder: str) -> Manifest:
    """What lies in the folder of a version or an export."""
    files: list[File] = []
    odd: list[str] = []
    for path, place in _entries(epath.Path(folder)):
        if path in (CARD, MANIFEST) or path.startswith(CLAIM):
            continue
        try:
            files.append(_file(path, place))
        except OSError as error:
            odd.append(f"{path}: it cannot be read, {error.strerror}")
        except ValueError as error:
            odd.append(f"{path}: {error}")
    return Manifest(files=sorted(files), odd=tuple(sorted(odd)))


def digest_of(folder: str) -> str:
    """The digest of a model: of the manifest of its folder.

    Raises:
        RunError: there is something that is no file.
    """
    manifest = manifest_of(folder)
    if manifest.odd:
        raise RunError(f"{folder} is no plain folder of files: {'; '.join(manifest.odd)}")
    return digest(manifest.text.encode())


def write_manifest(folder: str) -> str:
    """Write the manifest into the folder of a version; returns its digest."""
    text = manifest_of(folder).text
    (epath.Path(folder) / MANIFEST).write_text(text)
    return digest(text.encode())


def verify(folder: str, expected: str | None = None) -> list[str]:
    """What is wrong with the files of a version; a part of a sentence each, none where all is as it
    was pushed.

    expected: digest of the manifest, as somebody else has kept it.
    """
    place = epath.Path(folder) / MANIFEST
    try:
        if not place.exists():
            return ["it has no manifest"]
        content, found = place.read_bytes(), manifest_of(folder)
    except OSError as error:
        return [f"{error.filename} cannot be read: {error.strerror}"]
    if expected and digest(content) != expected:
        return ["its manifest is not the one that it was pushed with"]
    try:
        listed = pydantic.TypeAdapter(dict[str, list[File]]).validate_json(content)["files"]
    except (ValueError, KeyError):
        return ["its manifest is damaged"]
    return [*found.odd, *_differences(listed, found)]


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _differences(listed: list[File], found: Manifest) -> Iterator[str]:
    wanted, there = ({file.path: file for file in files} for files in (listed, found.files))
    seen = there.keys() | {sentence.partition(":")[0] for sentence in found.odd}
    for path in sorted(wanted.keys() | there.keys()):
        if path not in wanted:
            yield f"{path}: it was not there when it was pushed"
        elif path not in seen:
            yield f"{path}: it is missing"
        elif path in there and there[path] != wanted[path]:
            yield f"{path}: it was changed"


def _entries(folder: epath.Path) -> Iterator[tuple[str, epath.Path]]:
    """All that lies in a folder and is no folder itself, by its relative path; a link to a folder
    is not followed."""
    for place in _listed(folder):
        if place.is_dir() and not _is_link(place):
            yield from ((f"{place.name}/{path}", below) for path, below in _entries(place))
        else:
            yield place.name, place


def _listed(folder: epath.Path) -> list[epath.Path]:
    """All that lies in a folder. `epath` leaves out what ends in ~, except on an object store."""
    if "://" in str(folder):
        return list(folder.iterdir())
    return [folder / name for name in os.listdir(folder)]


def _is_link(place: epath.Path) -> bool:
    return "://" not in str(place) and os.path.islink(place)


def _file(path: str, place: epath.Path) -> File:
    """Raises ValueError for what is no file."""
    if "://" not in str(place) and not stat.S_ISREG(os.lstat(place).st_mode):
        raise ValueError("it is a link" if _is_link(place) else "it is no file")
    sha256, size = hashlib.sha256(), 0
    with place.open("rb") as stream:
        while piece := stream.read(PIECE):
            sha256.update(piece)
            size += len(piece)
    return File(path=path, size=size, sha256=sha256.hexdigest())
