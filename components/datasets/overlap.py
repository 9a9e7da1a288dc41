"""Images that splits take twice: in one split they count double, in two they are a leak."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING

from foundation.errors import ConfigError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

Place = tuple[str, int, int]
"""A split of the data set, the first image that is taken of it, and the one after the last."""


def require_once(
    dataset: str, known: "tfds.core.splits.SplitDict", wanted: Mapping[str, str]
) -> None:
    """Raises ConfigError where an image is in two of the wanted splits, or twice in one, or where a
    part of a split ends before it begins, of which tfds would take others.

    dataset: its name. known: its splits. wanted: by the name of the setting, split expressions that
    tfds can read.
    """
    places = {f"{name}={split}": list(_places(split, known)) for name, split in wanted.items()}
    for asked, parts in places.items():
        if any(first > after for _, first, after in parts):
            raise ConfigError(f"{asked}: a part ends before it begins; expected FIRST:AFTER_LAST")
        if again := _repeated(parts):
            raise ConfigError(
                f"{asked} takes {again:,} images of {dataset} more than once; expected each once: "
                "add parts that do not overlap"
            )
    for (one, ones), (other, others) in combinations(places.items(), 2):
        if shared := _repeated(ones + others):
            raise ConfigError(
                f"{one} and {other} have {shared:,} images of {dataset} in common; expected none, "
                "since a model is not judged on what it learned from: choose parts that do not "
                "overlap"
            )


def _repeated(places: list[Place]) -> int:
    """How many images come again."""
    count, last, end = 0, "", 0
    for split, first, after in sorted(places):
        if split != last:
            last, end = split, 0
        count += max(0, min(end, after) - first)
        end = max(end, after)
    return count


def _places(split: str, known: "tfds.core.splits.SplitDict") -> Iterator[Place]:
    import tensorflow_datasets as tfds

    for part in tfds.core.ReadInstruction.from_spec(split).to_absolute(known):
        whole = known[part.splitname].num_examples
        yield part.splitname, part.from_ or 0, whole if part.to is None else part.to
