"""Results of a run, read from its artifacts: rows of attacked images, and counts of examples."""

import os
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.records.columns import BROKEN_BY, CERTIFIED_BY, PREDICTION
from components.records.shards import list_shards, read_shards


@dataclass(frozen=True, kw_only=True)
class AttackTable:
    """All rows of AdversarialExampleGen without their images.

    rows: columns `id`, `attack`, `label`, and `prediction_MODEL`, `broken_by_MODEL`,
    `certified_by_MODEL` for each model.
    files: where the images lie.
    """

    rows: pd.DataFrame
    files: list[str]


def read_attack_table(folder: str, models: tuple[str, ...]) -> AttackTable:
    """Read the rows of a split folder of AdversarialExampleGen."""
    files = list_shards(folder)
    texts = [
        "attack",
        *(prefix + model for prefix in (BROKEN_BY, CERTIFIED_BY) for model in models),
    ]
    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in ("id", *texts)}
    spec |= {
        name: tf.io.FixedLenFeature([], tf.int64)
        for name in ("label", *(PREDICTION + m for m in models))
    }
    records = read_shards(files).batch(2000)
    batches = [tf.io.parse_example(batch, spec) for batch in records]
    columns = {name: np.concatenate([batch[name].numpy() for batch in batches]) for name in spec}
    columns |= {name: columns[name].astype(str) for name in texts}
    return AttackTable(rows=pd.DataFrame(columns), files=files)


def read_images(
    table: AttackTable, attack: str, limit: int, shape: tuple[int, int, int]
) -> npt.NDArray[np.float32]:
    """Some images of one attack: float32 [limit, h, w, c], in the order of `some_rows`."""
    wanted = list(some_rows(table, attack, limit)["id"])
    spec = {
        "id": tf.io.FixedLenFeature([], tf.string),
        "attack": tf.io.FixedLenFeature([], tf.string),
        "image": tf.io.FixedLenFeature(shape, tf.float32),
    }
    rows = read_shards(table.files).map(lambda r: tf.io.parse_single_example(r, spec))
    chosen = rows.filter(
        lambda r: (r["attack"] == attack) & tf.reduce_any(r["id"] == tf.constant(wanted))
    )
    images = {row["id"]: row["image"] for row in chosen.as_numpy_iterator()}
    return np.stack([images[identity] for identity in wanted])


def some_rows(table: AttackTable, attack: str, limit: int) -> pd.DataFrame:
    """At most `limit` rows of one attack, mixed but always the same ones: in the order of a
    checksum of their ids, which by themselves may be sorted by class."""
    rows = table.rows[table.rows["attack"] == attack]
    return rows.loc[rows["id"].map(zlib.crc32).sort_values(kind="stable").index].head(limit)


def example_counts(statistics: str, splits: list[str]) -> dict[str, int]:
    """Number of examples a split, as StatisticsGen counted them."""
    counts = {}
    for split in splits:
        with open(os.path.join(statistics, f"Split-{split}", "FeatureStats.pb"), "rb") as file:
            found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())
        counts[split] = int(found.datasets[0].num_examples)
    return counts
