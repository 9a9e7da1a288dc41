"""Shards: TFRecord files that one worker writes whole, each under its final name or not at all.

Nodes of ours write a shard in one go instead of through Beam's sinks: nothing is shuffled, records
keep their order, a retried worker writes the same file again, and the cost is TensorFlow's, not
Python's.
"""

import fnmatch
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import tensorflow as tf
from tfx.dsl.io import fileio

from foundation.autotune import no_autotune
from foundation.errors import RunError


def shard_path(folder: str, index: int, count: int, compressed: bool) -> str:
    """Path of a shard, named as TFX and Beam name theirs."""
    return os.path.join(
        folder, f"data_tfrecord-{index:05d}-of-{count:05d}{'.gz' if compressed else ''}"
    )


def write_shard(path: str, records: Iterable[bytes]) -> int:
    """Write all records, gzipped when the name ends in `.gz`; returns how many.

    Raises:
        RunError: the disk is full or the folder cannot be written; no part of the shard is left.
    """
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    written = 0
    try:
        with _reported(path):
            fileio.makedirs(os.path.dirname(path))
            writer = tf.io.TFRecordWriter(partial, "GZIP" if path.endswith(".gz") else "")
        try:
            for record in records:  # what fails in here is not the disk's fault
                with _reported(path):
                    writer.write(record)
                written += 1
        finally:  # an object store has the file from now on, so it is removed after this
            with _reported(path):
                writer.close()
        with _reported(path):
            fileio.rename(partial, path, overwrite=True)
    finally:
        if fileio.exists(partial):
            fileio.remove(partial)
    return written


@contextmanager
def _reported(path: str) -> Iterator[None]:
    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        raise RunError(f"cannot write {path}: {error}") from error


def remove_partials(folder: str) -> None:
    """Remove what workers that were killed have left in a split folder: a runner has others write
    their shards, and who reads all files of the folder would read these too."""
    for path in _files(folder, "*.partial"):
        fileio.remove(path)


def list_shards(folder: str) -> list[str]:
    """Paths of all shards of a split folder, sorted.

    Raises:
        RunError: there is none.
    """
    found = _files(folder, "data_tfrecord-*-of-*")
    shards = [path for path in found if not path.endswith(".partial")]
    if not shards:
        raise RunError(f"expected shards named data_tfrecord-* in {folder}, found none")
    return shards


def _files(folder: str, pattern: str) -> list[str]:
    """Paths of the files of a folder, sorted; only their names are matched with the pattern."""
    names = fileio.listdir(folder) if fileio.isdir(folder) else []
    return [os.path.join(folder, name) for name in sorted(fnmatch.filter(names, pattern))]


def read_shards(paths: list[str]) -> tf.data.Dataset:
    """The records of shards that are all gzipped or all not, in order: string []."""
    compression = "GZIP" if paths[0].endswith(".gz") else ""
    return tf.data.TFRecordDataset(paths, compression_type=compression).with_options(no_autotune())
