"""Results of a run, read from its artifacts: some attacked images, and counts of examples."""

import os
import zlib

import numpy as np
from tensorflow_metadata.proto.v0 import statistics_pb2

from components.records.names import Origin
from components.records.record import Rows, batch_of, read_rows
from components.records.shards import list_shards


def some_rows(folder: str, origin: Origin, limit: int, image_shape: tuple[int, int, int]) -> Rows:
    """At most `limit` rows of one origin with their images, mixed but always the same ones: in the
    order of a checksum of their ids, which by themselves may be sorted by class.

    Args:
        folder: split folder of AdversarialExampleGen, which has such rows.
        origin: attack, and model against which the images were made.
        limit: number of rows.
        image_shape: height, width, channels.
    """
    kept: list[Rows] = []
    for rows in read_rows(list_shards(folder), batch_of(image_shape), image_shape):
        joined = Rows.concatenate([*kept, rows[rows.attack == str(origin)]])
        checksums = [zlib.crc32(identity) for identity in joined.id]
        kept = [joined[np.argsort(checksums, kind="stable")[:limit]]]
    return Rows.concatenate(kept)


def example_counts(statistics: str, splits: list[str]) -> dict[str, int]:
    """Number of examples a split, as StatisticsGen counted them."""
    counts = {}
    for split in splits:
        with open(os.path.join(statistics, f"Split-{split}", "FeatureStats.pb"), "rb") as file:
            found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read())
        counts[split] = int(found.datasets[0].num_examples)
    return counts
