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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says of one image: a class, and the probability it gives to that."""

    label: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What the served version says of images, in their order."""

    version: str
    answers: tuple[Answer, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        answers = [{"class": a.label, "probability": a.probability} for a in self.answers]
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
        loaded = tf.saved_model.load(os.path.join(serving, version))
        signature = loaded.signatures["serving_default"]
        answers = tuple(_answer(signature, image, version) for image in request.images)
    return Answers(version=version, answers=answers)


def _answer(signature: Any, image: Path, version: str) -> Answer:
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
    return Answer(label=int(np.argmax(probabilities)), probability=float(np.max(probabilities)))
