"""Clean accuracy beside chance; read without TensorFlow."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Chance:
    """The clean accuracy on the first images beside what is had without looking.

    images: how many. right: share that the model classifies. chance: share of the most frequent
    class.
    """

    images: int
    right: float
    chance: float
