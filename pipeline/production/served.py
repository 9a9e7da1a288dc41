"""Answers of the model in production, through the signature that a server would use."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.versions import newest_version
from foundation.errors import ConfigError, DataError


def predict(root: Path, images: list[str]) -> dict[str, Any]:
    """Classify PNG files with the served version.

    Returns:
        `version`, and `answers`, for each image `class` and `probability`.

    Raises:
        ConfigError: nothing has been pushed. DataError: a file is missing or no PNG of the right
            shape.
    """
    serving = str(root / "serving")
    version = newest_version(serving)
    if version is None:
        raise ConfigError(f"nothing has been pushed in {root} yet; run `gauntlet run` first")
    loaded = tf.saved_model.load(os.path.join(serving, version))
    signature = loaded.signatures["serving_default"]
    answers = []
    for path in images:
        try:
            encoded = Path(path).read_bytes()
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        try:
            answer = signature(image=tf.constant([encoded]))
        except tf.errors.OpError as error:
            raise DataError(
                f"{path} is no PNG image of the shape that version {version} takes"
            ) from error
        probabilities = answer["probabilities"].numpy()[0]
        answers.append(
            {"class": int(np.argmax(probabilities)), "probability": float(np.max(probabilities))}
        )
    return {"version": version, "answers": answers}
