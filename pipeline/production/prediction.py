"""Answers of the served model, through the signature that a server would use.

The served model is the version with the highest number.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.versions import newest
from foundation.errors import ConfigError, DataError, RunError
from foundation.events import phase
from pipeline.production.answers import Answer, Answers
from pipeline.production.requests import Classification
from trainer.classes import class_names_of


def classify(request: Classification) -> Answers:
    """Classify PNG files with the served model.

    Raises:
        ConfigError: nothing has been pushed. RunError: the served version is damaged. DataError: a
            file is missing or no PNG of the right shape.
    """
    serving = str(request.root.serving)
    served = newest(serving)
    if served is None:
        raise ConfigError(
            f"nothing has been pushed in {request.root} yet; run `gauntlet run` first"
        )
    if served.damaged:
        raise RunError(
            f"version {served.version}, which is served, is damaged: {served.problem}; serve an "
            "intact one by `gauntlet rollback`"
        )
    version = served.version
    with phase("predict"):
        folder = os.path.join(serving, version)
        names = class_names_of(folder)
        loaded = tf.saved_model.load(folder)
        signature = loaded.signatures["serving_default"]
        answers = tuple(_answer(signature, image, version, names) for image in request.images)
    return Answers(version=version, images=request.images, answers=answers)


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
