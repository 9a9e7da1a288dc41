"""Exports of untrained networks, as other people's Trainers write them."""

from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras


def linear_model(
    folder: Path, shape: tuple[int, ...] = (8, 8, 1), classes: int = 3, softmax: bool = False
) -> str:
    """A Keras model; returns the artifact's folder."""
    tf_keras.utils.set_random_seed(1)
    layers = [tf_keras.layers.Input(shape), tf_keras.layers.Flatten()]
    layers.append(tf_keras.layers.Dense(classes, activation="softmax" if softmax else None))
    tf_keras.Sequential(layers).save(folder / "Format-Serving", save_format="tf")
    return str(folder)


def signature_model(folder: Path, model: Any, shape: tuple[int, ...] = (8, 8, 1)) -> str:
    """The same function without Keras: only a signature; returns the artifact's folder."""
    module = tf.Module()
    module.variables_of_the_model = model.variables
    spec = tf.TensorSpec([None, *shape], tf.float32, name="pixels")
    module.call = tf.function(lambda pixels: {"scores": model(pixels)}, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "Format-Serving"), {"serving_default": module.call})
    return str(folder)
