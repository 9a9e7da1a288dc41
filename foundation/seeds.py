"""The seed of an image: what is random about an attack on it, and the same wherever it is
attacked."""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from jaxtyping import Int64

Seeds = Int64[npt.NDArray[np.int64], "n 2"]
"""One stateless seed an image."""


def image_seeds(ids: Sequence[bytes], seed: int) -> Seeds:
    """One stateless seed an image, from its id."""
    hashes = [int.from_bytes(hashlib.sha256(i).digest()[:7], "big") for i in ids]
    return np.array([[seed, each] for each in hashes], np.int64).reshape(-1, 2)


def restart_seeds(seeds: Seeds, restart: int) -> Seeds:
    """The seeds of a later restart (or target); restart 0 has the seeds themselves."""
    return np.asarray(seeds + np.asarray([restart * 1_000_003, 0]))
