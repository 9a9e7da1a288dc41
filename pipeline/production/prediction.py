"""Answers of the served model, through the signature that a server would use.

The served model is the version with the highest number.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from foundation.errors import ConfigError, DataError
from foundation.events import phase
from foundation.versions import newest_version
from pipeline.production.requests import Classification
from trainer.classes import class_names_of


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
    answers: tuple[Answer, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        answers = [
            {"class": a.label, "label": a.name, "probability": a.probability} for a in self.answers
        ]
        return {"version": self.version, "answers": answers}


def classify(request: Classification) -> Answers:
    """Classify PNG files with the served model.

    Raises:
        ConfigError: nothing has been pushed. DataError: a file is missing or no PNG of the right
            shape.
    """
    serving = str(request.root.serving)
    version = newest_version(serving)
    if version is None:
        raise ConfigError(
            f"nothing has been pushed in {request.root} yet; run `gauntlet run` first"
        )
    with phase("predict"):
        folder = os.path.join(serving, version)
        names = class_names_of(folder)
        loaded = tf.saved_model.load(folder)
        signature = loaded.signatures["serving_default"]
        answers = tuple(_answer(signature, image, version, names) for image in request.images)
    return Answers(version=version, answers=answers)


def _answer(signature: Any, image: Path, version: str, names: tuple[str, ...]) -> Answer:
    try:
        encoded = image.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {image}: {error.strerror}") from error
    try:
        answer = signature(image=tf.constant([encoded]))
    except tf.errors.OpError as error:
        raise DataError(
            f"{image} is no PNG image of the shape that version {version} takes"
        ) from error
    probabilities = answer["probabilities"].numpy()[0]
    label = int(np.argmax(probabilities))
    name = names[label] if label < len(names) else None
    return Answer(label=label, name=name, probability=float(probabilities[label]))
