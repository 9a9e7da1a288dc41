"""What the served model says of images; read without TensorFlow."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says of one image: a class, its name (None where the export has none), and the
    probability it gives to that."""

    label: int
    name: str | None
    probability: float


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the served version says of images, in their order."""

    version: str
    images: tuple[Path, ...]
    answers: tuple[Answer, ...]
