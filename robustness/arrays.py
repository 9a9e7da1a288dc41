"""The types that attacks, bounds and checks share, and the seeds of images."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

Model = Callable[..., tf.Tensor]
"""`model(x, training=False)`: float32 [n, h, w, c] in [0, 1] to logits float32 [n, k]."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def image_seeds(ids: Sequence[bytes], seed: int) -> IntArray:
    """One stateless seed an image, from its id: int64 [n, 2], the same wherever it is attacked."""
    hashes = [int.from_bytes(hashlib.sha256(i).digest()[:7], "big") for i in ids]
    return np.stack([np.full(len(hashes), seed), np.asarray(hashes, np.int64)], axis=1).astype(np.int64)


def restart_seeds(seeds: IntArray, restart: int) -> IntArray:
    """The seeds of a later restart (or target): int64 [n, 2]; restart 0 has the seeds themselves."""
    return np.asarray(seeds + np.asarray([restart * 1_000_003, 0]))
