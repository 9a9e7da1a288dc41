"""Rows of images of one grey, for tests of what reads and writes them."""

from typing import Any

import numpy as np

from components.records.record import Rows

SHAPE = (2, 2, 1)


def small_rows(*rows: tuple[bytes, str, float], shape: tuple[int, ...] = SHAPE) -> Rows:
    """A row for each id, attack and grey, of the one model `robust`."""
    ids, attacks, greys = zip(*rows, strict=True)
    empty = column("", len(rows))
    return Rows(
        id=np.array(ids, object),
        attack=np.array(attacks, object),
        image=np.stack([np.full(shape, grey, np.float32) for grey in greys]),
        label=np.zeros(len(rows), np.int64),
        norm=empty,
        epsilon=np.zeros(len(rows), np.float32),
        seed=np.zeros(len(rows), np.int64),
        predictions={"robust": np.zeros(len(rows), np.int64)},
        broken_by={"robust": empty},
        certified_by={"robust": empty},
        judged_by={"robust": empty},
        passed_checks=empty,
        failed_checks=empty,
    )


def column(value: Any, n: int) -> np.ndarray:
    """n times the same object."""
    return np.full(n, value, object)
