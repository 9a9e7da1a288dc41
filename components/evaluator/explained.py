"""What became of a gate: an entry of `gates.json`. Read without TensorFlow, NumPy and SciPy; on an
object store it needs TensorFlow's or fsspec's access to that."""

from dataclasses import dataclass
from enum import StrEnum

import pydantic
from etils import epath

GATES = "gates.json"
"""File in the blessing: a list of `Explanation`."""


class Word(StrEnum):
    """What a gate says, in a word."""

    PASSED = "passed"
    REFUSED = "refused"
    REPORTED = "reported"
    NOT_COMPARED = "not compared"
    NOT_APPLICABLE = "does not apply"


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One gate after the evaluation.

    passed: None where nothing was asked, there was nothing to compare with, or nothing that the
        gate could be about, which refuses nothing.
    value: as counted; None where it is not a number.
    interval: exact 95 % confidence interval of the value, or None.
    judged: what was compared with the bound; None where it is not a number.
    images_to_change: how many more images must be right for the gate to hold; None where that would
        not do, or is no question of images.
    images_against: how many images speak against the model.
    ids: some of them.
    not_compared: why there was nothing to compare with, where the gate holds for that; '' where it
        was judged.
    applies: whether the model has what the gate is about; a bound that it does not have cannot be
        too high.
    """

    name: str
    passed: bool | None
    value: float | None
    interval: tuple[float, float] | None
    judged: float | None
    op: str
    bound: float
    images_to_change: int | None
    images_against: int | None = None  # what earlier versions wrote has none
    ids: list[str]
    sentence: str
    not_compared: str = ""  # the same
    applies: bool = True  # the same

    @property
    def refuses(self) -> bool:
        """Whether the model is refused by it."""
        return self.passed is False

    @property
    def asks_nothing(self) -> bool:
        """Whether it is a share that is only reported."""
        return self.op == ">=" and self.bound == 0.0

    @property
    def word(self) -> Word:
        """What it says in a word: a share of which nothing is asked has not passed anything."""
        if self.refuses:
            return Word.REFUSED
        if self.not_compared:
            return Word.NOT_COMPARED
        if not self.applies:
            return Word.NOT_APPLICABLE
        return Word.REPORTED if self.asks_nothing else Word.PASSED


def read_explanations(blessing: str) -> list[Explanation]:
    """What the gates of a blessing say, which lies in that folder."""
    text = (epath.Path(blessing) / GATES).read_bytes()
    return pydantic.TypeAdapter(list[Explanation]).validate_json(text)
