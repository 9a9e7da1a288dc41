"""A prepared TFDS version folder: reading what it holds, verifying it, fingerprinting it.

Does without TensorFlow: this runs in the process that later trains, and an initialised TensorFlow
can no longer be told which devices to use.
"""

import glob
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.datasets import tfrecord
from foundation.errors import DataError
from foundation.events import Progress

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

log = logging.getLogger("gauntlet.data")

INFO_FILE = "dataset_info.json"
FEATURES_FILE = "features.json"
PIECES_PER_UPDATE = 1000
BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PreparedDataset:
    """A verified data set on disk.

    `directory` is the version folder (`.../mnist/3.0.1`), for `tfds.builder_from_directory`;
    `splits` counts examples; `fingerprint` (SHA-256 in hex) depends on name, version, features,
    classes and examples in their order only: not on where the folder lies, nor on which run
    prepared it.
    """

    name: str
    version: str
    directory: str
    splits: dict[str, int]
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One data file and the number of records it must hold."""

    split: str
    path: Path
    records: int
    is_tfrecord: bool


def looks_prepared(directory: Path, dataset: str) -> bool:
    """Whether `directory` is, or is the remains of, a prepared version folder of `dataset`."""
    if not directory.is_dir():
        return False
    has_metadata = any((directory / name).is_file() for name in (INFO_FILE, FEATURES_FILE))
    name = dataset.partition(":")[0].partition("/")[0]
    return has_metadata or any(directory.glob(f"{glob.escape(name)}-*-[0-9]*-of-[0-9]*"))


def inspect(directory: Path, dataset: str) -> PreparedDataset:
    """Verify every shard of a prepared folder; reads all of it (0.3 s for MNIST), writes nothing.

    Raises DataError when the folder holds another data set than `dataset` (as `tfds.builder` names
    it: `name` or `name/config`), lacks a file, or has a truncated or damaged shard.
    """
    builder = _open(directory)
    name = full_name(builder)
    if name != dataset:
        raise DataError(f"{directory} holds the data set {name!r}, expected {dataset!r}")
    shards = list(_shards(builder))
    _require_files(directory, shards)
    digest = hashlib.sha256(f"{name} {builder.version}\n".encode())
    digest.update(_canonical_json(directory / FEATURES_FILE))
    digest.update("".join(f"{label}\n" for label in _class_names(builder)).encode())
    for shard, shard_hash in zip(shards, _hash_shards(directory, shards), strict=True):
        digest.update(f"{shard.split} {shard.path.name} {shard_hash}\n".encode())
    splits = {split: int(info.num_examples) for split, info in builder.info.splits.items()}
    log.info("verified %s %s in %s: %s", name, builder.version, directory, _counts(splits))
    return PreparedDataset(
        name=name,
        version=str(builder.version),
        directory=str(directory),
        splits=splits,
        fingerprint=digest.hexdigest(),
    )


def split_fingerprint(prepared: PreparedDataset, split: str) -> str:
    """SHA-256 in hex of what the images of a split are read from: of each whole tfds split that it
    is a part of, as `PreparedDataset.fingerprint` does of all.

    split: as tfds takes it, such as `test[:500]`.

    Raises:
        DataError: a file is damaged or cannot be read.
    """
    import tensorflow_datasets as tfds

    directory = Path(prepared.directory)
    builder = _open(directory)
    parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(builder.info.splits)
    wanted = {part.splitname for part in parts}
    shards = [shard for shard in _shards(builder) if shard.split in wanted]
    digest = hashlib.sha256(_canonical_json(directory / FEATURES_FILE))
    for shard, shard_hash in zip(shards, _hash_shards(directory, shards), strict=True):
        digest.update(f"{shard.split} {shard.path.name} {shard_hash}\n".encode())
    return digest.hexdigest()


def full_name(builder: "tfds.core.DatasetBuilder") -> str:
    """`name` or `name/config`, without the version."""
    config = builder.builder_config
    return f"{builder.name}/{config.name}" if config else str(builder.name)


def _open(directory: Path) -> Any:
    """The read-only builder of a folder; DataError when its metadata is missing or unreadable."""
    import tensorflow_datasets as tfds
    from google.protobuf.json_format import ParseError

    for name in (INFO_FILE, FEATURES_FILE):
        if not (directory / name).is_file():
            raise DataError(f"{directory} lacks {name}: {_again(directory)}")
    try:
        builder = tfds.builder_from_directory(str(directory))
        if not builder.info.splits:
            raise DataError(f"{directory} has no splits: {_again(directory)}")
    except (ParseError, ValueError, KeyError, OSError) as error:
        raise DataError(f"{directory} cannot be read ({error}): {_again(directory)}") from error
    return builder


def _class_names(builder: Any) -> tuple[str, ...]:
    """Names of the labels; none where the data have no classes."""
    label: Any = dict(builder.info.features.items()).get("label")
    return tuple(label.names) if getattr(label, "num_classes", None) else ()


def _shards(builder: Any) -> Iterator[Shard]:
    for split, info in sorted(builder.info.splits.items()):
        for path, records in zip(info.filepaths, info.shard_lengths, strict=True):
            yield Shard(
                split=split,
                path=Path(path),
                records=records,
                is_tfrecord=builder.info.file_format.value == "tfrecord",
            )


def _require_files(directory: Path, shards: list[Shard]) -> None:
    missing = [shard.path.name for shard in shards if not shard.path.is_file()]
    if missing:
        found = ", ".join(sorted(path.name for path in directory.iterdir()))
        raise DataError(
            f"{directory} lacks {len(missing)} of {len(shards)} shard files: "
            f"{', '.join(missing[:5])}. Found: {found}. What to do: {_again(directory)}"
        )


def _hash_shards(directory: Path, shards: list[Shard]) -> Iterator[str]:
    """The SHA-256 of each shard's content; DataError names the first one that is damaged."""
    progress, done = Progress("verifying", sum(shard.path.stat().st_size for shard in shards)), 0
    for shard in shards:
        digest, count = hashlib.sha256(), 0
        try:
            for data in _pieces(shard):
                digest.update(data)
                done, count = done + len(data), count + 1
                if count % PIECES_PER_UPDATE == 0:
                    progress.update(done)
        except OSError as error:
            raise DataError(f"{shard.path} cannot be read: {error.strerror}") from error
        except tfrecord.BrokenRecord as error:
            problem = f"record {count + 1} of {shard.records} {error}"
            raise DataError(f"{shard.path} is damaged: {problem}; {_again(directory)}") from error
        if shard.is_tfrecord and count != shard.records:
            problem = f"expected {shard.records} records, found {count}"
            raise DataError(f"{shard.path} is damaged: {problem}; {_again(directory)}")
        yield digest.hexdigest()
    progress.finish()


def _pieces(shard: Shard) -> Iterator[bytes]:
    """What is hashed of a shard: its examples in canonical form, or blocks of another format."""
    with shard.path.open("rb") as stream:
        if shard.is_tfrecord:
            yield from map(tfrecord.canonical, tfrecord.records(stream))
        else:
            yield from iter(lambda: stream.read(BLOCK), b"")


def _canonical_json(path: Path) -> bytes:
    return (
        json.dumps(json.loads(path.read_text()), sort_keys=True, allow_nan=False).encode() + b"\n"
    )


def _counts(splits: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {split}" for split, count in splits.items())


def _again(directory: Path) -> str:
    return f"restore it, or remove {directory} and run again to have it prepared afresh"
