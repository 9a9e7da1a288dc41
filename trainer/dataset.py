"""Split files to batches of features for training."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from trainer.autotune import no_autotune

READ_BATCH = 500
"""Examples parsed and decoded at once: large enough to hide per-call overhead, small in memory."""

WORKERS = 2
"""Parallel calls of a map: decoding and gathering keep ahead of training with that."""


def raw_parser(transform: tft.TFTransformOutput) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Serialized raw tf.Examples, string [n], to `image` float32 [n, h, w, c] in [0, 1], `label` int64 [n]
    and `id` string [n], by the Transform node's own graph."""
    spec = {name: transform.raw_feature_spec()[name] for name in ("image", "label", "id")}
    layer = transform.transform_features_layer()

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(serialized, spec)
        identity = tf.reshape(raw.pop("id"), [-1])
        return dict(layer(raw)) | {"id": identity}

    return parse


def load_split(file_patterns: Sequence[str], transform: tft.TFTransformOutput) -> dict[str, npt.NDArray[np.generic]]:
    """A whole split in memory, sorted by `id`, so that training does not depend on the number of shards.

    Args:
        file_patterns: globs of gzipped TFRecord files of raw tf.Examples.
        transform: the Transform node's output.

    Returns:
        `image` float32 [n, h, w, c] in [0, 1] and `label` int64 [n].
    """
    files = tf.data.Dataset.list_files(list(file_patterns), shuffle=False)
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(READ_BATCH)
    parsed = records.map(raw_parser(transform), num_parallel_calls=WORKERS).with_options(no_autotune())
    batches = list(parsed.as_numpy_iterator())
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    order = np.argsort(columns.pop("id"))
    return {name: column[order] for name, column in columns.items()}


def batched(features: dict[str, npt.NDArray[np.generic]], batch_size: int, seed: int | None = None) -> tf.data.Dataset:
    """Batches of the feature dictionary; the last, smaller one is kept.

    Args:
        features: columns of n rows each.
        batch_size: rows a batch.
        seed: shuffle anew in every epoch, the same way for the same seed; None keeps the order.
    """
    columns = {name: tf.constant(column) for name, column in features.items()}
    rows = tf.data.Dataset.range(len(features["label"]))
    if seed is not None:  # shuffling row numbers is cheap, shuffling images is not
        rows = rows.shuffle(len(features["label"]), seed=seed, reshuffle_each_iteration=True)
    gathered = rows.batch(batch_size).map(
        lambda chosen: {name: tf.gather(column, chosen) for name, column in columns.items()},
        num_parallel_calls=WORKERS,
    )
    return gathered.prefetch(2 * WORKERS).with_options(no_autotune())
