"""Verification of rows as they were written: each is read back, in float32, and its image compared
with the clean original."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from jaxtyping import UInt64
from tfx.dsl.io import fileio

from components.records.names import CLEAN, Origin
from components.records.record import Rows, batch_of, read_rows
from components.records.shards import write_shard
from foundation.errors import RunError
from robustness.ball import inside_ball
from robustness.config import ThreatModel
from robustness.types import FloatArray

Hashes = UInt64[np.ndarray, "n"]


@dataclass(frozen=True, kw_only=True)
class Verified:
    """Shards that are right. ids: a hash of each image's id."""

    shards: int
    rows: int
    ids: Hashes


def write_checked(
    path: str,
    batches: Iterable[Rows],
    threat: ThreatModel,
    origins: Sequence[Origin],
    originals: str = "",
) -> Verified:
    """Write a shard of rows and verify it; one that is not right does not stay.

    Args:
        path: file to write.
        batches: rows with images, a clean row before all other rows of its image.
        threat: ball in which attacked images lie.
        origins: what every image has one row of; `clean` among them, unless there are originals.
        originals: shard that has the clean rows, in the order in which the images are written.

    Raises:
        RunError: what is read back is not what was written, an image lies outside its ball or
            [0, 1], or an image has not these rows.
    """
    verification = _Verification(threat, origins, originals)
    write_shard(path, verification.serialized(batches))
    try:
        verification.read_back(path)
    except RunError:
        fileio.remove(path)
        raise
    return verification.verified()


class _Verification:
    """One shard. It holds the clean images whose other rows are still to come, no more."""

    def __init__(self, threat: ThreatModel, origins: Sequence[Origin], originals: str = "") -> None:
        self._threat = threat
        self._origins, self._first = sorted(map(str, origins)), str(origins[0])
        self._originals = originals
        self._shape: tuple[int, int, int] | None = None
        self._attacked = 0  # images that were to be written
        self._outside = 0  # rows that were read back
        self._clean: dict[bytes, FloatArray] = {}
        self._attacks: dict[bytes, list[str]] = {}  # of each image that was read back
        self._unpaired: set[bytes] = set()

    def serialized(self, batches: Iterable[Rows]) -> Iterator[bytes]:
        """The rows on their way into the file."""
        for rows in batches:
            assert rows.image is not None
            self._shape = rows.image.shape[1:]
            self._attacked += int(np.sum(rows.attack == self._first))
            yield from rows.serialize()

    def read_back(self, path: str) -> None:
        """Read the file and raise unless all is as it should be."""
        try:
            self._clean_rows = self._read(self._originals)
            for rows in self._read(path):
                self._add(rows)
        except tf.errors.InvalidArgumentError as error:
            raise RunError(f"{path} cannot be read back: {error.message}") from error
        complete = {i for i, attacks in self._attacks.items() if sorted(attacks) == self._origins}
        incomplete = len(self._attacks) - len(complete - self._unpaired)
        if self._outside or incomplete or self._attacked != len(self._attacks):
            raise RunError(
                f"the attacked images that were written are not valid: {self._attacked} images "
                f"were attacked, {len(self._attacks)} were read back, {incomplete} of them "
                f"with missing rows; {self._outside} attacked images lie outside the "
                f"{self._threat.norm} ball of radius {self._threat.epsilon} or outside [0, 1]: "
                f"{path}"
            )

    def _read(self, path: str) -> Iterator[Rows]:
        """The rows of a shard; none where there is no shard, or nothing was written."""
        if path and self._shape:
            yield from read_rows([path], batch_of(self._shape), self._shape)

    def verified(self) -> Verified:
        digests = [hashlib.sha256(identity).digest()[:8] for identity in self._attacks]
        return Verified(
            shards=1,
            rows=sum(map(len, self._attacks.values())),
            ids=np.array([int.from_bytes(digest) for digest in digests], np.uint64),
        )

    def _add(self, rows: Rows) -> None:
        self._keep_clean(rows)
        while self._originals and not self._clean.keys() >= set(rows.id):
            if (more := next(self._clean_rows, None)) is None:
                break
            self._keep_clean(more)
        for identity, attack in zip(rows.id, rows.attack, strict=True):
            self._attacks.setdefault(identity, []).append(attack)
        paired = np.array([identity in self._clean for identity in rows.id])
        self._unpaired |= set(rows.id[~paired])
        self._outside += self._count_outside(rows[paired])
        for identity in set(rows.id):
            if len(self._attacks[identity]) >= len(self._origins):
                self._clean.pop(identity, None)

    def _keep_clean(self, rows: Rows) -> None:
        assert rows.image is not None
        for place in np.flatnonzero(rows.attack == CLEAN):
            self._clean.setdefault(rows.id[place], rows.image[place].copy())

    def _count_outside(self, rows: Rows) -> int:
        """Images outside the ball around their clean original, which for a clean row is itself."""
        if not len(rows):
            return 0
        originals = np.stack([self._clean[identity] for identity in rows.id])
        inside = inside_ball(tf.constant(rows.image), tf.constant(originals), self._threat)
        return int(np.sum(~inside.numpy()))
