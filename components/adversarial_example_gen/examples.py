"""Raw examples to images, labels and ids: by the pipeline's Transform graph, or without one as they
are."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.records.shards import read_shards
from foundation.errors import DataError, RunError
from robustness.types import FloatArray, IntArray
from trainer.dataset import raw_parser
from trainer.preprocessing import decode_images

Parser = Callable[[tf.Tensor], dict[str, tf.Tensor]]
"""Serialized examples, string [n], to `image`, `label` and, where they have one, `id`."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """A batch. x: float32 [n, h, w, c] in [0, 1]. y: int64 [n]. ids: names of the images."""

    x: FloatArray
    y: IntArray
    ids: list[bytes]


class ExampleReader:
    """Reads shards of raw examples.

    Args:
        transform: folder of a Transform graph from raw `image` and `label` to pixels and labels;
            None: examples hold an `image`, as PNG bytes or as pixels in [0, 1], and an integer
            `label`. Without a graph, an image that has no `id` is named by its shard and its place
            in it.
        image_shape: height, width, channels that the models take.
        classes: number of labels that the models give.
    """

    def __init__(
        self, transform: str | None, image_shape: tuple[int, int, int], classes: int
    ) -> None:
        self._image_shape, self._classes = image_shape, classes
        self._graph = raw_parser(tft.TFTransformOutput(transform)) if transform else None

    def batches(self, shard: str, size: int) -> Iterator[Labelled]:
        """The examples of a shard, in order.

        Raises:
            DataError: an example is not what the models take.
        """
        begin = 0
        for serialized in read_shards([shard]).batch(size):
            batch = self._parsed(shard, serialized, begin)
            self._require_valid(shard, batch)
            begin += len(batch.ids)
            yield batch

    def sample(self, shards: Sequence[str], size: int) -> Labelled:
        """The first examples of all shards together.

        Raises:
            DataError: an example is not what the models take.
            RunError: there is none.
        """
        parts: list[Labelled] = []
        for shard in shards:
            wanted = size - sum(len(part.ids) for part in parts)
            parts += islice(self.batches(shard, wanted), 1) if wanted else []
        if not parts:
            raise RunError(f"there is no image to attack: {os.path.dirname(shards[0])} is empty")
        return Labelled(
            x=np.concatenate([part.x for part in parts]),
            y=np.concatenate([part.y for part in parts]),
            ids=list(chain.from_iterable(part.ids for part in parts)),
        )

    def _parsed(self, shard: str, serialized: tf.Tensor, begin: int) -> Labelled:
        parse = self._graph or plain_parser(shard, serialized[0].numpy(), self._image_shape)
        try:
            columns = {name: column.numpy() for name, column in parse(serialized).items()}
        except tf.errors.InvalidArgumentError as error:
            raise DataError(
                f"{shard}: expected images of shape {self._image_shape}, each with a label: "
                f"{error.message.rpartition('}} ')[2]}"
            ) from error
        places = range(begin, begin + len(columns["label"]))
        by_place = [f"{os.path.basename(shard)}__{place}".encode() for place in places]
        ids = columns["id"].tolist() if "id" in columns else by_place
        return Labelled(x=columns["image"], y=columns["label"], ids=ids)

    def _require_valid(self, shard: str, batch: Labelled) -> None:
        if batch.x.shape[1:] != self._image_shape:
            raise DataError(
                f"{shard}: the models take images of shape {self._image_shape}, the examples have "
                f"{batch.x.shape[1:]}"
            )
        low, high = batch.x.min(), batch.x.max()
        if not 0.0 <= low <= high <= 1.0:  # false for what is not a number
            raise DataError(f"{shard}: pixels are in [0, 1], got {low:g} to {high:g}")
        least, most = batch.y.min(), batch.y.max()
        if not 0 <= least <= most < self._classes:
            raise DataError(
                f"{shard}: the models know the labels 0 to {self._classes - 1}, got {least} to "
                f"{most}"
            )


def plain_parser(shard: str, record: bytes, image_shape: tuple[int, int, int]) -> Parser:
    """How examples are read without a Transform graph; all of a shard are like its first record.

    Raises:
        DataError: it has no image or no label.
    """
    features = tf.train.Example.FromString(record).features.feature
    kinds = {name: feature.WhichOneof("kind") for name, feature in features.items()}
    images = {
        "bytes_list": tf.io.FixedLenFeature([], tf.string),
        "float_list": tf.io.FixedLenFeature(image_shape, tf.float32),
    }
    if kinds.get("image") not in images or kinds.get("label") != "int64_list":
        raise DataError(
            f"{shard}: without a Transform graph, examples have an `image` (PNG bytes, or pixels "
            f"in [0, 1]) and a `label` (an integer); these have {kinds}"
        )
    spec: dict[str, Any] = {
        "image": images[kinds["image"]],
        "label": tf.io.FixedLenFeature([], tf.int64),
    }
    if kinds.get("id") == "bytes_list":
        spec["id"] = tf.io.FixedLenFeature([], tf.string)

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        columns = tf.io.parse_example(serialized, spec)
        if kinds["image"] == "bytes_list":
            columns["image"] = decode_images(columns["image"], image_shape)
        return dict(columns)

    return parse
