"""The table from which all gates are judged: what the candidate and the champion made of each image
and its attacks.

TFMA gathers it from the answers of the served model; the explanation of a refusal reads it back
from the rows that AdversarialExampleGen and ChampionChallenge recorded. Knows nothing of TFMA and
files.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from components.records.columns import CLEAN

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class ImageTable:
    """One entry an image.

    ids: bytes [n], sorted. label: int64 [n]. certified: bool [n], a bound proves the candidate
        right.
    right, champion_right: by attack (`clean` among them), bool [n]; an image without that row
        counts as wrong. `champion_right` is empty where there is no champion.
    rows: number of rows. disagreements: rows on which the served model answers otherwise than the
        attacked one did.
    ran: bounds and attacks that the candidate faced. passed, failed: names of the honesty checks.
    """

    ids: npt.NDArray[Any]
    label: npt.NDArray[np.int64]
    certified: BoolArray
    right: Mapping[str, BoolArray]
    champion_right: Mapping[str, BoolArray]
    rows: int
    disagreements: int
    ran: frozenset[str]
    passed: frozenset[str]
    failed: frozenset[str]

    @property
    def robust(self) -> BoolArray:
        """Right on the clean image and under every attack: bool [n]."""
        return on_all(self.right, len(self.ids))

    @property
    def champion_robust(self) -> BoolArray:
        """The same of the champion."""
        return on_all(self.champion_right, len(self.ids))

    @property
    def clean(self) -> BoolArray | None:
        """Right on the clean image: bool [n]; None where these rows are not here."""
        return self.right.get(CLEAN)


def on_all(right: Mapping[str, BoolArray], n: int) -> BoolArray:
    """Right on all rows: bool [n]; false where there is none."""
    return np.all(list(right.values()), axis=0) if right else np.zeros(n, bool)


@dataclass(frozen=True, kw_only=True)
class RowVerdict:
    """What one row says. right: of the candidate. champion: its prediction, -1 where there is none;
    the rest as in `ImageTable`."""

    id: bytes
    attack: str
    label: int
    right: bool
    agrees: bool
    champion: int
    certified: bool
    ran: str
    passed: str
    failed: str


class Gathering:
    """Rows on their way to a table, in any order and in any number of parts; a row that comes twice
    counts as the worse of the two."""

    def __init__(self) -> None:
        self.images: dict[bytes, tuple[int, bool]] = {}
        self.right: dict[str, dict[bytes, bool]] = {}
        self.champion_right: dict[str, dict[bytes, bool]] = {}
        self.texts: tuple[set[str], set[str], set[str]] = (set(), set(), set())
        self.rows = self.disagreements = 0

    def add(self, row: RowVerdict) -> None:
        self.rows += 1
        self.disagreements += not row.agrees
        _, certified = self.images.get(row.id, (row.label, True))
        self.images[row.id] = (row.label, certified and row.certified)
        _note(self.right.setdefault(row.attack, {}), row.id, row.right)
        if row.champion >= 0:
            _note(self.champion_right.setdefault(row.attack, {}), row.id, row.champion == row.label)
        for found, text in zip(self.texts, (row.ran, row.passed, row.failed), strict=True):
            found.add(text)

    def merge(self, other: "Gathering") -> None:
        self.rows += other.rows
        self.disagreements += other.disagreements
        for identity, (label, certified) in other.images.items():
            self.images[identity] = (
                label,
                certified and self.images.get(identity, (label, True))[1],
            )
        for mine, theirs in (
            (self.right, other.right),
            (self.champion_right, other.champion_right),
        ):
            for attack, column in theirs.items():
                for identity, right in column.items():
                    _note(mine.setdefault(attack, {}), identity, right)
        for found, more in zip(self.texts, other.texts, strict=True):
            found |= more

    def table(self) -> ImageTable:
        ids = sorted(self.images)
        right, champion_right = (
            {
                attack: np.array([column.get(identity, False) for identity in ids], bool)
                for attack, column in by.items()
            }
            for by in (self.right, self.champion_right)
        )
        ran, passed, failed = ([names(text) for text in found] for found in self.texts)
        return ImageTable(
            ids=np.array(ids, object),
            label=np.array([self.images[identity][0] for identity in ids], np.int64),
            certified=np.array([self.images[identity][1] for identity in ids], bool),
            right=right,
            champion_right=champion_right,
            rows=self.rows,
            disagreements=self.disagreements,
            ran=frozenset.intersection(*ran) if ran else frozenset(),
            passed=frozenset.intersection(*passed) if passed else frozenset(),
            failed=frozenset().union(*failed),
        )


def names(text: str) -> frozenset[str]:
    """Names that a column holds with commas between them."""
    return frozenset(filter(None, text.split(",")))


def gather(rows: Iterable[RowVerdict]) -> ImageTable:
    """The table of all rows."""
    gathering = Gathering()
    for row in rows:
        gathering.add(row)
    return gathering.table()


def _note(column: dict[bytes, bool], identity: bytes, right: bool) -> None:
    column[identity] = column.get(identity, True) and right
