"""How much disk a run needs, and whether there is as much."""

import shutil
import tempfile
from dataclasses import dataclass
from math import prod
from pathlib import Path

from components.datasets.prepared import PreparedDataset
from foundation.environment import ROOM
from foundation.errors import RunError
from pipeline.definition.config import RunConfig

ROWS, CHAMPION_ROWS = 5, 2
"""Rows of an image of the test split: clean, and of two attacks on each of two models; and of those
on the champion."""

ROW = 600
"""Bytes of a row beside its pixels: names of checks, answers, what broke it."""

WEIGHTS = 11
"""Copies of a network's weights at most: two exports, a pushed one, and while it trains two
checkpoints with the two moments of Adam and two of the best epoch."""

FIXED = 10 * 2**20
"""Bytes of all else: graphs, statistics, metrics, metadata, pictures, logs."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes on the disk that a run needs at most, if nothing is in the cache.

    rows: of attacked images. data: of the ingested images. weights: of one network.
    """

    rows: int
    data: int
    weights: int

    @property
    def root(self) -> int:
        """In the root."""
        return self.rows + self.data + WEIGHTS * self.weights + FIXED

    @property
    def temporary(self) -> int:
        """In the folder of temporary files, where a model is exported."""
        return ROOM + 2 * self.weights


def needed(config: RunConfig, prepared: PreparedDataset, champion: bool) -> Need:
    """What a run needs. champion: whether there is one to compare with."""
    from components.datasets.batches import count_images, image_bytes  # which import TensorFlow

    data = config.data
    images = {split: count_images(prepared, part) for split, part in data.splits.items()}
    rows = ROWS + CHAMPION_ROWS * (champion and config.gates.champion > 0)
    return Need(
        rows=images["test"] * rows * (4 * prod(data.image_shape) + ROW),
        data=round(sum(images.values()) * image_bytes(prepared)),
        weights=4 * parameters(config),
    )


def parameters(config: RunConfig) -> int:
    """How many numbers a network has. Ours is not built for it: Keras would count its layers, and
    name those of the next one otherwise."""
    trainer, data = config.trainer, config.data
    if trainer.network:
        from trainer.network import build_network

        return int(build_network(trainer, data.image_shape, data.classes).count_params())
    height, width, inputs = data.image_shape
    total = 0
    for filters, kernel_size, _ in trainer.convolutions:
        total += filters * (kernel_size**2 * inputs + 1)
        inputs = filters
    inputs *= prod(trainer.feature_size(height, width))
    for units in (*trainer.dense, data.classes):
        total += units * (inputs + 1)
        inputs = units
    return total


def least(config: RunConfig) -> Need:
    """What a run needs at least, as far as its settings tell. A user's network is not built for
    that."""
    weights = 0 if config.trainer.network else 4 * parameters(config)
    return Need(rows=0, data=0, weights=weights)


def check_disk(root: Path, need: Need) -> str:
    """A line on what a run needs and what is free. Raises RunError where there is too little."""
    temporary = Path(tempfile.gettempdir())
    places = {root: need.root}
    if root.stat().st_dev == temporary.stat().st_dev:
        places[root] += need.temporary
    else:
        places[temporary] = need.temporary
    lines = []
    for folder, size in places.items():
        free = shutil.disk_usage(folder).free
        lines.append(f"up to {_shown(size)} of disk in {folder}, {_shown(free)} free")
        if free < size:
            raise RunError(
                f"the run needs {lines[-1]}; nothing was trained. Make room (`gauntlet clean` "
                "removes what no kept run and no pushed model needs), or name another place with "
                f"{'--root' if folder == root else 'TMPDIR'}"
            )
    return f"needs {'; '.join(lines)}"


def _shown(size: int) -> str:
    return f"{size / 2**30:,.0f} GB" if size >= 10 * 2**30 else f"{size / 2**20:,.0f} MB"
