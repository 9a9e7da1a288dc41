"""What lies at a path: told by its content, not by its ending."""

import json
import zipfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from foundation.errors import ConfigError, DataError
from foundation.versions import versions

LARGEST_CONFIG = 1 << 26
"""Bytes of a description of layers."""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

IR_VERSION = 0x08
"""First byte of an ONNX file whose fields stand in their order, as exporters write them: the field
with the version of the format. A SavedModel's graph begins with it too, and version 1."""

OLDEST_IR = 3
"""The first version of the format that was published."""

WAYS_IN = "expected a SavedModel folder, numbered versions of one, or a .keras, .h5 or .onnx file"


P = TypeVar("P", Path, str)


class Format(Enum):
    """The formats that are read."""

    SAVED_MODEL = "SavedModel"
    KERAS_ZIP = ".keras"
    HDF5 = ".h5"
    ONNX = ".onnx"


@dataclass(frozen=True, kw_only=True)
class ModelFile(Generic[P]):
    """A model. path: file or folder, of numbered versions the newest; the folder of a SavedModel
    may lie in a store."""

    path: P
    format: Format


def model_file(path: Path) -> ModelFile[Path]:
    """What lies at a path.

    Raises:
        DataError: nothing, or no model in one of the formats; the message says what to do.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there is no such file or folder; {WAYS_IN}")
    if path.is_dir():
        return ModelFile(path=_saved_model(path), format=Format.SAVED_MODEL)
    if not path.is_file():
        raise ConfigError(f"{path} is neither a file nor a folder; {WAYS_IN}")
    if path.name == "saved_model.pb":
        return ModelFile(path=path.parent, format=Format.SAVED_MODEL)
    return ModelFile(path=path, format=_format(path))


def _saved_model(path: Path) -> Path:
    if (path / "saved_model.pb").exists():
        return path
    # a model artifact of TFX, or versions that were pushed
    folders = [path / name for name in ("Format-Serving", *reversed(versions(str(path))))]
    for folder in folders:
        if (folder / "saved_model.pb").exists():
            return folder
    raise DataError(
        f"{path}: expected a SavedModel folder (with saved_model.pb in it) or numbered versions "
        "of one"
    )


def _format(path: Path) -> Format:
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise DataError(f"{path} is empty; {WAYS_IN}")
    if head.startswith(HDF5_SIGNATURE):
        return Format.HDF5
    if head.startswith(b"PK"):
        return _zip(path)
    if foreign := _foreign(head):
        raise DataError(f"{path} is {foreign}; {WAYS_IN}")
    if path.suffix.lower() == ".onnx" or (
        head[0] == IR_VERSION and head[1:2] >= bytes([OLDEST_IR])
    ):
        return Format.ONNX
    raise DataError(f"{path} is no model that can be read; {WAYS_IN}")


def _zip(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if "metadata.json" in names:
        return Format.KERAS_ZIP
    if any(name.endswith("data.pkl") for name in names):
        raise DataError(f"{path} is a file of PyTorch: {FROM_PYTORCH}")
    raise DataError(f"{path} is an archive without a Keras model; {WAYS_IN}")


FROM_PYTORCH = (
    "its weights alone are no network; export the network with torch.onnx.export, and give the "
    ".onnx file"
)


def _foreign(head: bytes) -> str:
    """What a file of another kind is; '' where nobody knows."""
    if head[4:8] == b"TFL3":
        return "a file of TensorFlow Lite, which has no gradients: give the model it was made from"
    if head.startswith(b"\x80"):
        return f"a pickle, such as PyTorch writes: {FROM_PYTORCH}"
    return ""


def read_archive(path: Path, name: str) -> Any:
    """A JSON file in a `.keras` file.

    Raises:
        DataError: the archive is damaged, or has no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(name).file_size
            if size > LARGEST_CONFIG:
                raise DataError(
                    f"{path} is damaged: {name} in it is unpacked {size:,} bytes long, expected at "
                    f"most {LARGEST_CONFIG:,}"
                )
            return json.loads(archive.read(name))
    except (zipfile.BadZipFile, OSError, KeyError, ValueError, EOFError) as error:
        raise DataError(f"{path} is damaged: {name} in it cannot be read ({error})") from error
