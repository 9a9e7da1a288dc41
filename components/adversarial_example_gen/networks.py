"""Networks from TFX's model artifacts, whoever trained them, as functions from images to logits."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import path_utils

from foundation.errors import DataError
from robustness.logits import as_logits
from robustness.types import Model
from trainer.load import SignatureModel

log = logging.getLogger("gauntlet.adversarial_example_gen")

SAMPLE = 8
"""Images of noise that tell whether a network gives logits or probabilities."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """model: images in [0, 1] to logits. image_shape: height, width, channels. classes: how many
    logits."""

    model: Model
    image_shape: tuple[int, int, int]
    classes: int


def export_of(artifacts: list[Artifact]) -> str:
    """Folder of the SavedModel in a model artifact."""
    return str(path_utils.serving_model_path(artifact_utils.get_single_uri(artifacts)))


def load_network(path: str) -> Network:
    """A SavedModel of Keras 2, or any with a signature from float images to logits or
    probabilities.

    Raises:
        DataError: it takes no images of a fixed shape, or has no such signature.
    """
    if fileio.exists(os.path.join(path, "keras_metadata.pb")):
        loaded = tf_keras.models.load_model(path, compile=False)
    else:
        loaded = SignatureModel(tf.saved_model.load(path), Path(path))
    shape = loaded.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or None in shape[1:]:
        raise DataError(
            f"{path}: expected one input of images of a fixed shape [n, h, w, c], got {shape}"
        )
    noise = np.random.default_rng(0).uniform(size=(SAMPLE, *shape[1:])).astype(np.float32)
    model, note = as_logits(loaded, shape[1:], noise)
    if note:
        log.warning("%s: %s", path, note)
    logits = model(tf.constant(noise[:1]), training=False)
    return Network(model=model, image_shape=shape[1:], classes=int(logits.shape[1]))


def load_networks(paths: Mapping[str, str]) -> dict[str, Network]:
    """Networks by name, which all take and give the same shapes.

    Raises:
        DataError: they do not, or one cannot be used.
    """
    networks = {name: load_network(path) for name, path in paths.items()}
    shapes = {name: (network.image_shape, network.classes) for name, network in networks.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(
            f"all models take images of one shape and give as many classes, got {shapes}"
        )
    return networks
