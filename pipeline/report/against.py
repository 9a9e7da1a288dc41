"""`images.npz`: the test images that gates name, clean and attacked, for `gauntlet show --gate`.

They are for looking at: pixels are rounded to 1/255. Read without TensorFlow.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from foundation.errors import DataError
from foundation.whole import write_whole

Pixels = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

GATE = "gate."
"""Before the name of a gate in the file: the places of its images."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Clean and attacked images side by side; arrays of one length.

    id, label: name of the image, and its true class.
    attack: whose image the attacked one is, as `Origin`; `clean` where the model is wrong without.
    broken_by, certified_by: as in `components.records.table`.
    prediction, attacked_prediction: what the model gives for the two.
    clean, attacked: pixels [n, h, w, c].
    """

    id: Texts
    label: Integers
    attack: Texts
    broken_by: Texts
    certified_by: Texts
    prediction: Integers
    attacked_prediction: Integers
    clean: Pixels
    attacked: Pixels

    def at(self, places: Integers) -> "Pairs":
        """Some of them, in that order."""
        return Pairs(**{name: column[places] for name, column in vars(self).items()})

    def __len__(self) -> int:
        return len(self.id)


def write_pairs(path: Path, pairs: Pairs, gates: Mapping[str, Sequence[int]]) -> None:
    """Write the file, whole or not at all. gates: by name, the places of the images that speak
    against the model."""
    places = {f"{GATE}{name}": np.array(each, np.int64) for name, each in gates.items()}
    columns = {**vars(pairs), **places}

    def write(partial: Path) -> None:
        with partial.open("wb") as file:
            np.savez_compressed(file, **columns)

    write_whole(path, write)


def read_pairs(path: Path, gate: str) -> Pairs | None:
    """The images of a gate; None where the file has none of it.

    Raises:
        DataError: the file is damaged. OSError: it is not there.
    """
    try:
        with np.load(path, allow_pickle=False) as columns:
            if GATE + gate not in columns:
                return None
            names = Pairs.__dataclass_fields__
            pairs = Pairs(**{name: columns[name] for name in names}).at(columns[GATE + gate])
            if pairs.clean.ndim != 4 or pairs.clean.shape != pairs.attacked.shape:
                raise ValueError("they are no pairs of images")
            return pairs
    except OSError:
        raise
    except Exception as error:  # whatever is wrong with an archive
        raise DataError(f"{path} is damaged: it holds no images of gates") from error
