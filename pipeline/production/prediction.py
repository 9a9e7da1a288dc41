"""Answers of the served model, through the signature that a server would use.

The served model is the version with the highest number.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.datasets.folder.content import Unusable, file_of_image, require_size
from components.datasets.folder.problems import Problems
from components.versions import newest, way_back
from foundation.errors import ConfigError, RunError
from foundation.events import Fields, phase
from pipeline.production.answers import Answer, Answers
from pipeline.production.listing import held_against
from pipeline.production.requests import Classification
from trainer.classes import class_names_of

log = logging.getLogger("gauntlet.prediction")

REASON = re.compile(r"assertion failed: \[(.*?)\]|(Invalid PNG)")
"""What the graph says of an image that it refuses, or TensorFlow's decoder."""


def classify(request: Classification) -> Answers:
    """Classify PNG files with the served model.

    Raises:
        ConfigError: nothing has been pushed. RunError: the served version is damaged. DataError:
            files are missing or no PNGs of the right shape and colours; all of them are counted.
    """
    serving = str(request.root.serving)
    served = newest(serving)
    if served is None:
        raise ConfigError(
            f"nothing has been pushed in {request.root} yet; run `gauntlet run` first"
        )
    served = held_against(request.root, served)
    if served.damaged:
        raise RunError(
            f"version {served.version}, which is served, is damaged: {served.problem}; "
            f"{way_back(serving, served)}"
        )
    if served.problem:
        told = f"version {served.version} answers, although {served.problem}"
        log.warning("%s", told, extra=Fields(stays=True))
    version = served.version
    with phase("predict"):
        folder = os.path.join(serving, version)
        names = class_names_of(folder)
        loaded = tf.saved_model.load(folder)
        signature = loaded.signatures["serving_default"]
        problems, answers = Problems(Path()), []
        for image in request.images:
            try:
                answers.append(_answer(signature, image, version, names))
            except Unusable as error:
                problems.add(str(image), str(error))
        problems.refuse(len(request.images))
    return Answers(version=version, images=request.images, answers=tuple(answers))


def _answer(signature: Any, image: Path, version: str, names: tuple[str, ...]) -> Answer:
    """What the model says of an image; raises Unusable where it refuses that, or where the image
    claims to be too large to be decoded, as graphs of before would do first."""
    encoded = file_of_image(image)
    require_size(encoded)
    try:
        answer = signature(image=tf.constant([encoded]))
    except tf.errors.OpError as error:
        told = REASON.search(error.message)
        reason = f": {told[1] or 'it is damaged'}" if told else ""
        raise Unusable(
            f"is no PNG image of the shape and colours that version {version} takes{reason}"
        ) from error
    probabilities = answer["probabilities"].numpy()[0]
    label = int(np.argmax(probabilities))
    name = names[label] if label < len(names) else None
    return Answer(label=label, name=name, probability=float(probabilities[label]))
