"""How many images of each class an artifact of examples has, split by split."""

import json
import os
from collections.abc import Iterable

from tfx.dsl.io import fileio

from foundation.json import dumps
from foundation.whole import write_text

LABELS = "labels.json"
"""File beside the splits."""

Labels = dict[str, dict[int, int]]
"""By split and label."""


def write_labels(parts: Iterable[tuple[str, dict[int, int]]], artifact: str) -> None:
    """Add up the counts of the parts of splits, and write them into the artifact's folder."""
    total: Labels = {}
    for split, counts in parts:
        sums = total.setdefault(split, {})
        for label, count in counts.items():
            sums[label] = sums.get(label, 0) + count
    write_text(os.path.join(artifact, LABELS), dumps(total))


def images_of(artifact: str, split: str) -> int:
    """How many images a split has; 0 where nobody has counted, as in examples of other nodes."""
    if not fileio.exists(os.path.join(artifact, LABELS)):
        return 0
    return sum(read_labels(artifact).get(split, {}).values())


def read_labels(artifact: str) -> Labels:
    """What `write_labels` wrote."""
    with fileio.open(os.path.join(artifact, LABELS)) as file:
        written = json.load(file)
    return {
        split: {int(label): count for label, count in counts.items()}
        for split, counts in written.items()
    }
