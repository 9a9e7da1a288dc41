"""The weights in a Keras file, before Keras reads them: they lie in the file itself, and do not
unpack to more than its size explains."""

import io
import zipfile
from pathlib import Path
from typing import IO, Any

import h5py

from foundation.errors import DataError
from trainer.models.formats import HDF5_SIGNATURE, LARGEST_CONFIG

PACKED = 64
"""How many bytes may become of one; Keras packs nothing, and a person may."""


def check_weights(path: Path) -> None:
    """Look through a `.keras` or `.h5` file.

    Raises:
        DataError: it is damaged, unpacks to very much, or takes weights from other files.
    """
    allowed = PACKED * path.stat().st_size + LARGEST_CONFIG
    with path.open("rb") as file:
        if file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE:
            _check(path, path, allowed)
            return
    with zipfile.ZipFile(path) as archive:
        total = sum(entry.file_size for entry in archive.infolist())
        _check_size(path, total, allowed)
        for name in archive.namelist():
            if name.endswith(".h5"):
                _check(path, io.BytesIO(archive.read(name)), allowed)
            elif name.endswith(".npz"):
                _check_npz(path, io.BytesIO(archive.read(name)), allowed)


def _check(path: Path, file: Path | IO[bytes], allowed: int) -> None:
    try:
        with h5py.File(file) as content:
            _check_size(path, _size(path, content, set()), allowed)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _check_npz(path: Path, file: IO[bytes], allowed: int) -> None:
    try:
        with zipfile.ZipFile(file) as arrays:
            _check_size(path, sum(entry.file_size for entry in arrays.infolist()), allowed)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _check_size(path: Path, size: int, allowed: int) -> None:
    if size > allowed:
        raise DataError(
            f"{path} is damaged, or made to fill the memory: it unpacks to {size:,} bytes, "
            f"expected at most {allowed:,} of its size"
        )


def _size(path: Path, group: Any, seen: set[int]) -> int:
    """Bytes of all data sets of a group. seen: addresses of groups; a group may hold itself."""
    total = 0
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):  # to something in the same file
            continue
        item = None if isinstance(link, h5py.ExternalLink) else group[name]
        data = isinstance(item, h5py.Dataset)
        if item is None or (data and (item.external or item.is_virtual)):
            raise DataError(f"{path}: {group.name}/{name} in it lies in another file")
        address = h5py.h5o.get_info(item.id).addr
        if address not in seen:
            seen.add(address)
            total += item.nbytes if data else 0
            total += _size(path, item, seen) if isinstance(item, h5py.Group) else 0
    return total
