"""`examples.csv`: a row a test image, with what was found of one model on it.

`gauntlet evaluate` writes it, and the report of a run. Read without TensorFlow and NumPy.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from foundation.errors import DataError
from foundation.whole import write_whole


class Found(NamedTuple):
    """What was found on an image.

    id: its name. label, prediction: true class, and the model's on the clean image; -1 is none.
    broken_by: attack that changed the prediction, `ATTACK@MODEL` where the image was made against
        another model; `clean` where it was wrong without one, '' where none did.
    certified_by: bound that proves it right, or ''.
    """

    id: str
    label: int
    prediction: int
    broken_by: str
    certified_by: str

    @property
    def certified(self) -> bool:
        """Proven right, and broken by nothing."""
        return bool(self.certified_by) and not self.broken_by


CLASSES = ("label", "prediction")
"""Columns that are classes: each has its name beside it."""

HEADER = ("id", "label", "label_name", "prediction", "prediction_name", "broken_by", "certified_by")


def text_of(identity: bytes) -> str:
    """The id of an image as tables and reports have it."""
    return identity.decode(errors="backslashreplace")


def write_examples(path: Path, found: Iterable[Found], names: Sequence[str]) -> None:
    """Write the table, whole or not at all.

    names: of the classes, in the order of the model's outputs.
    """

    def name_of(label: int) -> str:
        return names[label] if 0 <= label < len(names) else ""

    def write(partial: Path) -> None:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            for row in found:
                classes = {f"{each}_name": name_of(getattr(row, each)) for each in CLASSES}
                writer.writerow(row._asdict() | classes)

    write_whole(path, write)


def read_examples(path: Path) -> list[Found]:
    """The table without the names.

    Raises:
        DataError: it is no such table. OSError: it is not there.
    """
    with path.open(newline="", encoding="utf-8") as file:
        try:
            reader = csv.DictReader(file, strict=True)
            return [_found(row) for row in reader]
        except (KeyError, ValueError, csv.Error) as error:
            raise DataError(f"{path} is damaged: it is no table of images") from error


def _found(row: dict[str, str]) -> Found:
    """Raises KeyError or ValueError for what is no row."""
    if None in row.values():
        raise ValueError("a row is cut off")
    values = {name: row[name] for name in Found._fields}
    classes = {name: int(row[name]) for name in CLASSES}
    return Found(**{**values, **classes})  # type: ignore[arg-type]
