"""The seed of an image: what is random about an attack on it, and the same wherever it is
attacked."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Seeds = npt.NDArray[np.int64]
"""int64 [n, 2], a stateless seed an image."""


def image_seeds(ids: Sequence[bytes], seed: int) -> Seeds:
    """One stateless seed an image, from its id: int64 [n, 2], the same wherever it is attacked."""
    hashes = [int.from_bytes(hashlib.sha256(i).digest()[:7], "big") for i in ids]
    return np.stack([np.full(len(hashes), seed), np.asarray(hashes, np.int64)], axis=1).astype(
        np.int64
    )


def restart_seeds(seeds: Seeds, restart: int) -> Seeds:
    """The seeds of a later restart (or target): int64 [n, 2]; restart 0 has the seeds
    themselves."""
    return np.asarray(seeds + np.asarray([restart * 1_000_003, 0]))
