"""A prepared folder: what it holds is verified, and fingerprinted by content."""

import gzip
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_mnist import CLOSED_HOST, TRAIN, TRAIN_SHARD, shrink_mnist, truncate, write_archives

from components.datasets.prepare import prepare
from components.datasets.prepared import split_fingerprint
from foundation.errors import DataError

pytestmark = pytest.mark.usefixtures("tiny_mnist")


def test_result_can_be_read_back_with_tfds(root: Path) -> None:
    import tensorflow_datasets as tfds

    result = prepare("mnist", str(root))
    rows = list(tfds.as_numpy(tfds.builder_from_directory(result.directory).as_dataset("train")))
    assert sorted(int(row["label"]) for row in rows) == list(range(TRAIN))
    assert rows[0]["image"].shape == (28, 28, 1)


def test_fingerprint_is_of_the_content(
    root: Path, official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare("mnist", str(root))
    first, test = prepared.fingerprint, split_fingerprint(prepared, "test")
    for path in root.rglob("*"):
        os.utime(path, (1, 1))
    moved = prepare("mnist", str(root.rename(tmp_path / "moved")))
    assert (moved.fingerprint, split_fingerprint(moved, "test[:3]")) == (first, test)
    assert split_fingerprint(moved, "train") != test != split_fingerprint(moved, "test+train")
    prepared_again = prepare("mnist", str(shutil.copytree(official, tmp_path / "again")))
    assert prepared_again.fingerprint == first

    other = tmp_path / "other"
    files = write_archives(other)
    labels = struct.pack(">II", 2049, TRAIN) + bytes(TRAIN)
    files["train-labels-idx1-ubyte.gz"] = gzip.compress(labels)
    (other / "train-labels-idx1-ubyte.gz").write_bytes(files["train-labels-idx1-ubyte.gz"])
    shrink_mnist(monkeypatch, CLOSED_HOST, files)
    changed = prepare("mnist", str(other))
    assert changed.fingerprint != first
    assert split_fingerprint(changed, "test") == test, "only the training labels are others"
    assert split_fingerprint(changed, "train") != split_fingerprint(moved, "train")


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def lose_records(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        (TRAIN_SHARD, Path.unlink, rf"lacks 1 of 2 shard files: {TRAIN_SHARD}\. Found: "),
        (TRAIN_SHARD, truncate, rf"{TRAIN_SHARD} is damaged: record {TRAIN} of {TRAIN} is cut off"),
        (TRAIN_SHARD, flip_a_byte, rf"{TRAIN_SHARD} is damaged: record 1 of {TRAIN} fails its"),
        (TRAIN_SHARD, lose_records, rf"damaged: expected {TRAIN} records, found 0"),
        ("dataset_info.json", Path.unlink, r"lacks dataset_info\.json"),
        ("features.json", Path.unlink, r"lacks features\.json"),
        ("dataset_info.json", truncate, r"cannot be read"),
        ("features.json", truncate, r"cannot be read"),
    ],
    ids=["shard missing", "shard truncated", "shard damaged", "shard empty", "info missing",
         "features missing", "info damaged", "features damaged"],
)  # fmt: skip
@pytest.mark.parametrize("where", [".", "mnist/3.0.1"], ids=["root", "version"])
def test_damaged_prepared_data(
    root: Path, where: str, file: str, damage: Callable[[Path], None], message: str
) -> None:
    damage(root / "mnist" / "3.0.1" / file)
    with pytest.raises(DataError, match=message) as error:
        prepare("mnist", str(root / where))
    assert f"remove {root / 'mnist'}" in str(error.value)
    assert "and run again" in str(error.value)


def test_folder_of_another_data_set(root: Path) -> None:
    with pytest.raises(DataError, match="holds the data set 'mnist', expected 'kmnist'"):
        prepare("kmnist", str(root / "mnist" / "3.0.1"))
