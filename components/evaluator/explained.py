"""What became of a gate: an entry of `gates.json`. Read without TensorFlow, NumPy and SciPy; on an
object store it needs TensorFlow's or fsspec's access to that."""

from dataclasses import dataclass

import pydantic
from etils import epath

GATES = "gates.json"
"""File in the blessing: a list of `Explanation`."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One gate after the evaluation.

    passed: None where there was nothing to compare with, which refuses nothing.
    value: as counted; None where it is not a number.
    interval: exact 95 % confidence interval of the value, or None.
    judged: what was compared with the bound; None where it is not a number.
    images_to_change: how many more images must be right for the gate to hold; None where that would
        not do, or is no question of images.
    images_against: how many images speak against the model.
    ids: some of them.
    not_compared: why there was nothing to compare with, where the gate holds for that; '' where it
        was judged.
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

    @property
    def refuses(self) -> bool:
        """Whether the model is refused by it."""
        return self.passed is False


def read_explanations(blessing: str) -> list[Explanation]:
    """What the gates of a blessing say, which lies in that folder."""
    text = (epath.Path(blessing) / GATES).read_bytes()
    return pydantic.TypeAdapter(list[Explanation]).validate_json(text)
