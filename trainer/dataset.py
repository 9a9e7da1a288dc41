"""Files of a split to arrays, and arrays to batches for training."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from foundation.autotune import no_autotune
from robustness.types import Images, Labels

READ_BATCH = 500
"""Examples parsed and decoded at once: large enough to hide per-call overhead, small in memory."""

WORKERS = 2
"""Parallel calls of a map: decoding and gathering keep ahead of training with that."""


class Split(NamedTuple):
    """A split of the data in memory: images in [0, 1] and their labels."""

    image: Images
    label: Labels


def raw_parser(transform: tft.TFTransformOutput) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Serialized raw tf.Examples, string [n], to `image` float32 [n, h, w, c] in [0, 1], `label`
    int64 [n] and `id` string [n], by the Transform node's own graph."""
    spec = {name: transform.raw_feature_spec()[name] for name in ("image", "label", "id")}
    layer = transform.transform_features_layer()

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(serialized, spec)
        identity = tf.reshape(raw.pop("id"), [-1])
        return dict(layer(raw)) | {"id": identity}

    return parse


def load_split(file_patterns: Sequence[str], transform: tft.TFTransformOutput) -> Split:
    """A whole split in memory, sorted by `id`, so that training does not depend on the number of
    shards.

    Args:
        file_patterns: globs of gzipped TFRecord files of raw tf.Examples.
        transform: the Transform node's output.
    """
    files = tf.data.Dataset.list_files(list(file_patterns), shuffle=False)
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").batch(READ_BATCH)
    parsed = records.map(raw_parser(transform), num_parallel_calls=WORKERS).with_options(
        no_autotune()
    )
    batches = list(parsed.as_numpy_iterator())
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    order = np.argsort(columns.pop("id"))
    return Split(columns["image"][order], columns["label"][order])


def training_batches(
    split: Split,
    global_batch: int,
    seed: int,
    first_step: int,
    positions: bool,
) -> Callable[[tf.distribute.InputContext], tf.data.Dataset]:
    """Endless shuffled batches for `strategy.distribute_datasets_from_function`.

    Step i of the training sees the same images whatever the number of replicas, and wherever the
    training began: every epoch is a permutation of all rows that depends on the seed and the epoch
    only. Rows that do not fill the last batch of an epoch are left out of that epoch, so that all
    shapes are static.

    Args:
        split: images and labels, n rows.
        global_batch: number of rows a step, over all replicas; at most n.
        seed: seed of the permutations.
        first_step: step to begin with.
        positions: whether a batch also has `position`, int64, the places of its rows in the global
            batch.

    Returns:
        A function that gives the batches of one input pipeline, one a replica and step, with
        `image` and `label`.
    """
    columns = {name: tf.constant(column) for name, column in split._asdict().items()}
    rows = len(split.label)
    steps_per_epoch = rows // global_batch

    def batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        size = context.get_per_replica_batch_size(global_batch)
        replicas = context.num_replicas_in_sync // context.num_input_pipelines
        first_replica = context.input_pipeline_id * replicas

        def gather(count: tf.Tensor) -> dict[str, tf.Tensor]:
            step, replica = count // replicas, first_replica + count % replicas
            epoch, step_in_epoch = step // steps_per_epoch, step % steps_per_epoch
            position = replica * size + tf.range(size, dtype=tf.int64)
            chosen = tf.random.experimental.index_shuffle(
                step_in_epoch * global_batch + position,
                tf.stack([tf.constant(seed, tf.int64), epoch]),
                tf.constant(rows - 1, tf.int64),
            )
            batch = {name: tf.gather(column, chosen) for name, column in columns.items()}
            return batch | ({"position": position} if positions else {})

        counter = tf.data.Dataset.range(first_step * replicas, np.iinfo(np.int64).max)
        return (
            counter.map(gather, num_parallel_calls=WORKERS)
            .prefetch(2 * WORKERS)
            .with_options(no_autotune())
        )

    return batches
