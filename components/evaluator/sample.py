"""Images that are counted, with the ids of a few of them."""

import bisect
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

SAMPLE = 100
"""Ids that are kept of each kind of images, and named by a refusal: enough to look at."""


@dataclass
class Sample:
    """How many images there are, and the ids of at most `SAMPLE` of them: those with the lowest
    checksums, which are the same ones in whatever order and parts the images come.

    lowest: checksum and id, in order.
    """

    count: int = 0
    lowest: list[tuple[int, str]] = field(default_factory=list)

    @classmethod
    def of(cls, count: int, ids: Iterable[str]) -> "Sample":
        return cls(count, sorted((zlib.crc32(identity.encode()), identity) for identity in ids))

    @classmethod
    def union(cls, samples: Iterable["Sample"]) -> "Sample":
        """All images of samples that share none."""
        united = cls()
        for sample in samples:
            united.merge(sample)
        return united

    @property
    def ids(self) -> list[str]:
        return [identity for _, identity in self.lowest]

    def merge(self, other: "Sample") -> None:
        self.count += other.count
        for entry in other.lowest:
            if len(self.lowest) < SAMPLE or entry < self.lowest[-1]:
                bisect.insort(self.lowest, entry)
                del self.lowest[SAMPLE:]
