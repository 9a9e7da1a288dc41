"""Prepared data as batches of images in memory, for whoever needs no pipeline: `gauntlet evaluate`,
benchmarks."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from components.datasets.folder.content import require_size
from components.datasets.image_folder import FILENAME
from components.datasets.overlap import require_once
from components.datasets.prepared import PreparedDataset
from foundation.errors import ConfigError, DataError
from robustness.types import FloatArray, IntArray


class Batch(NamedTuple):
    """Images float32 [n, h, w, c] in [0, 1], labels int64 [n], and their names: in a user's folder,
    or tfds's ids."""

    x: FloatArray
    y: IntArray
    ids: list[bytes]


def count_images(prepared: PreparedDataset, split: str, limit: int | None = None) -> int:
    """How many images `image_batches` gives for the same arguments; raises ConfigError as it
    does."""
    found = int(_part(prepared, split).num_examples)
    return found if limit is None else min(found, limit)


def image_bytes(prepared: PreparedDataset) -> float:
    """Bytes on the disk of one image, on average over all splits."""
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(prepared.directory).info.splits.values()
    size = sum(split.num_bytes for split in splits)
    return float(size / max(1, sum(split.num_examples for split in splits)))


def class_names(prepared: PreparedDataset) -> tuple[str, ...]:
    """Names of the classes, in the order of the labels; raises DataError where nothing is
    labelled."""
    import tensorflow_datasets as tfds

    features = tfds.builder_from_directory(prepared.directory).info.features
    if not isinstance(dict(features.items()).get("label"), tfds.features.ClassLabel):
        raise DataError(f"{prepared.name}: expected a feature label (ClassLabel), got {features}")
    return tuple(features["label"].names)


def image_batches(
    prepared: PreparedDataset, split: str, size: int, limit: int | None = None
) -> Iterator[Batch]:
    """The split in order, `size` images at a time; the last batch may be smaller. Memory stays
    flat.

    Args:
        prepared: from `components.datasets.prepare.prepare`.
        split: a tfds split expression, such as `test` or `train[55000:]`.
        size: images a batch.
        limit: at most so many images.

    Raises:
        ConfigError: there is no such split, and the message lists those that exist; or it takes an
            image twice.
        DataError: the data set is not one of labelled images with 8 bits a channel, or an image is
            damaged, or claims more pixels than are taken.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    from foundation.autotune import no_autotune

    _part(prepared, split)
    builder = tfds.builder_from_directory(prepared.directory)
    features = builder.info.features
    if not {"image", "label"} <= set(features) or features["image"].np_dtype != np.uint8:
        raise DataError(
            f"{prepared.name}: expected features image (uint8) and label, got {features}"
        )
    config = tfds.ReadConfig(add_tfds_id=True, interleave_cycle_length=1, try_autocache=False)
    rows = builder.as_dataset(
        split=split, read_config=config, shuffle_files=False, decoders={"image": _decoder()}
    )
    if limit is not None:
        rows = rows.take(limit)
    batches = rows.batch(size).with_options(no_autotune()).as_numpy_iterator()
    while True:
        try:
            batch = next(batches, None)
        except tf.errors.OpError as error:
            reason = re.split(r"Unusable: |\}\} ", error.message.partition("\n")[0])[-1]
            raise DataError(f"{prepared.name}: an image of {split} {reason}") from error
        if batch is None:
            return
        x = batch["image"].astype(np.float32) / np.float32(255)
        yield Batch(
            x,
            batch["label"].astype(np.int64),
            batch[FILENAME if FILENAME in features else "tfds_id"].tolist(),
        )


def _decoder() -> Any:
    """The data set's own decoder, for images whose heads have been read."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def checked(image: bytes) -> bytes:
        require_size(image)
        return image

    @tfds.decode.make_decoder(output_dtype=np.uint8)
    def decode(image: tf.Tensor, feature: tfds.features.Image) -> tf.Tensor:
        known = tf.ensure_shape(tf.numpy_function(checked, [image], tf.string), [])
        return feature.decode_example(known)

    return decode()


def _part(prepared: PreparedDataset, split: str) -> Any:
    """What tfds knows of a split expression."""
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(prepared.directory).info.splits
    try:
        found = splits[split]
        require_once(prepared.name, splits, {"split": split})
        if found.num_examples:
            return found
    except (ValueError, KeyError, NotImplementedError) as error:  # the last: a part of `all`
        raise ConfigError(
            f"unknown split {split!r} of {prepared.name}; the splits are {', '.join(splits)}, and "
            "parts of them such as test[:500]"
        ) from error
    raise ConfigError(f"the split {split!r} of {prepared.name} is empty")
