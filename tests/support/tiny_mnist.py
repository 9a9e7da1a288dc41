"""A tiny MNIST: ten images in archives of the official names, for the stock builder of tfds.

Only sizes and checksums are patched; the builder, its downloader and its file formats are real. The
child process of tfds is run inside this one, so that it sees the patches.
"""

import gzip
import hashlib
import struct
from pathlib import Path

import pytest

from components.datasets import stock, worker

TRAIN, TEST = 6, 4
TRAIN_SHARD = "mnist-train.tfrecord-00000-of-00001"
CLOSED_HOST = "http://127.0.0.1:9/"


def write_archives(folder: Path) -> dict[str, bytes]:
    """The four archives of a tiny MNIST in `folder`; returns their bytes by name."""
    files = {}
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        pixels = bytes(index % 251 for index in range(28 * 28 * count))
        images = struct.pack(">IIII", 2051, count, 28, 28) + pixels
        labels = struct.pack(">II", 2049, count) + bytes(index % 10 for index in range(count))
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(images, mtime=1)
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(labels, mtime=1)
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return files


def shrink_mnist(patch: pytest.MonkeyPatch, url: str, files: dict[str, bytes]) -> None:
    """Let the stock builder expect the tiny archives at `url`, and run its child in-process."""
    from tensorflow_datasets.core.download.checksums import UrlInfo
    from tensorflow_datasets.image_classification import mnist

    infos = {
        url + name: UrlInfo(
            size=len(data), checksum=hashlib.sha256(data).hexdigest(), filename=name
        )
        for name, data in files.items()
    }
    patch.setattr(mnist, "_TRAIN_EXAMPLES", TRAIN)
    patch.setattr(mnist, "_TEST_EXAMPLES", TEST)
    patch.setattr(mnist.MNIST, "URL", url)
    patch.setattr(mnist.MNIST, "url_infos", infos)
    patch.setattr(stock, "run", worker.prepare)


def use_default_root(patch: pytest.MonkeyPatch, root: Path) -> None:
    from tensorflow_datasets.core import constants

    patch.setattr(constants, "DATA_DIR", str(root))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
