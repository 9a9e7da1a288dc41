"""What a run found of each test image, from its artifacts: `examples.csv` and `images.npz`.

Both are about the robust model, and count as the gates do: an image is broken too where one that
was made against another model breaks it.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.evaluator.explained import Explanation
from components.evaluator.gate import Accuracy, Gate
from components.records.names import CLEAN, NO_BOUND, ROBUST, STRONGEST, Origin
from components.records.record import Rows, batch_of, read_rows
from components.records.shards import list_shards
from components.records.table import Found, text_of, write_examples
from pipeline.report.against import Pairs, Pixels, write_pairs
from pipeline.root.root import EXAMPLES, IMAGES

MOST = 32
"""Images that are kept of a gate."""

BYTES = 2**24
"""Of all pixels that are kept, before they are compressed."""

Shape = tuple[int, int, int]


class Wanted(NamedTuple):
    """An attacked image: the id of the image, and the `attack` of its row."""

    id: str
    attack: str


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """The rows of a run.

    folders: split folders of AdversarialExampleGen and, where there was a champion, of
        ChampionChallenge; the first has the clean rows.
    shape: height, width, channels of an image.
    """

    folders: Sequence[str]
    shape: Shape

    def rows(self, pixels: bool = False) -> Iterator[Rows]:
        """All of them in batches."""
        for folder in self.folders:
            shape = self.shape if pixels else None
            yield from read_rows(list_shards(folder), batch_of(self.shape), shape)

    def found(self) -> list[Found]:
        """What was found of the robust model on each image."""
        images: dict[bytes, Found] = {}
        broken: dict[bytes, str] = {}
        for rows in self.rows():
            wrong = rows.predictions[ROBUST] != rows.label
            for place in np.flatnonzero(wrong):
                broken.setdefault(rows.id[place], rows.attack[place])
            for place in np.flatnonzero(rows.attack == CLEAN):
                images[rows.id[place]] = _found(rows, place)
        return [
            found if found.broken_by else found._replace(broken_by=broken.get(identity, ""))
            for identity, found in images.items()
        ]


def _found(rows: Rows, place: Any) -> Found:
    """What a clean row says of its image."""
    proof = rows.certified_by[ROBUST][place]
    return Found(
        id=text_of(rows.id[place]),
        label=int(rows.label[place]),
        prediction=int(rows.predictions[ROBUST][place]),
        broken_by=rows.broken_by[ROBUST][place],
        certified_by="" if proof == NO_BOUND else proof,
    )


def write_found(
    folder: Path,
    attacked: Attacked,
    names: Sequence[str],
    explanations: Iterable[Explanation],
    gates: Iterable[Gate],
) -> None:
    """Write both files.

    Args:
        folder: of the run's results.
        attacked: rows of the run.
        names: of the classes, in label order.
        explanations: what became of the gates.
        gates: what they ask.
    """
    found = attacked.found()
    write_examples(folder / EXAMPLES, found, names)
    by_id = {each.id: each for each in found}
    under = {gate.name: gate.argument[0] for gate in gates if isinstance(gate, Accuracy)}
    named = {
        each.name: [
            Wanted(i, shown_of(by_id[i], under.get(each.name, ""))) for i in each.ids[:MOST]
        ]
        for each in explanations
        if each.images_against is not None
    }
    wanted = within(named, 2 * int(np.prod(attacked.shape)))
    pairs = pairs_of(attacked, by_id, wanted)
    places = {pair: place for place, pair in enumerate(wanted)}
    kept = {
        name: [places[each] for each in images if each in places] for name, images in named.items()
    }
    write_pairs(folder / IMAGES, pairs, kept)


def shown_of(found: Found, asked: str = "") -> str:
    """Which row of an image shows what speaks against the model. asked: attack that a gate asks
    for; '' for all of them."""
    if asked and asked != CLEAN:
        return asked
    if found.broken_by == CLEAN or asked:
        return CLEAN
    return found.broken_by if "@" in found.broken_by else str(Origin(STRONGEST, ROBUST))


def within(named: Mapping[str, Sequence[Wanted]], size: int) -> list[Wanted]:
    """As many of the images as there is room for: of each gate the first, then the second of each.

    size: bytes of a pair of images.
    """
    turns = itertools.zip_longest(*named.values())
    images = dict.fromkeys(each for turn in turns for each in turn if each)
    return list(images)[: BYTES // size]


def pairs_of(attacked: Attacked, by_id: Mapping[str, Found], wanted: Sequence[Wanted]) -> Pairs:
    """The images, from the rows that have them."""
    needed = {*wanted, *(Wanted(each.id, CLEAN) for each in wanted)}
    pixels: dict[Wanted, Pixels] = {}
    predictions: dict[Wanted, int] = {}
    for rows in attacked.rows(pixels=True):
        assert rows.image is not None
        keys = [Wanted(text_of(i), attack) for i, attack in zip(rows.id, rows.attack, strict=True)]
        for place, key in enumerate(keys):
            if key in needed:
                pixels[key] = np.rint(255 * rows.image[place]).astype(np.uint8)
                predictions[key] = int(rows.predictions[ROBUST][place])
    found = [by_id[each.id] for each in wanted]
    blank = np.zeros((0, *attacked.shape), np.uint8)
    return Pairs(
        id=np.array([each.id for each in wanted], str),
        attack=np.array([each.attack for each in wanted], str),
        label=np.array([each.label for each in found], np.int64),
        broken_by=np.array([each.broken_by for each in found], str),
        certified_by=np.array([each.certified_by for each in found], str),
        prediction=np.array([each.prediction for each in found], np.int64),
        attacked_prediction=np.array([predictions[each] for each in wanted], np.int64),
        clean=np.array([pixels[Wanted(each.id, CLEAN)] for each in wanted] or blank),
        attacked=np.array([pixels[each] for each in wanted] or blank),
    )
