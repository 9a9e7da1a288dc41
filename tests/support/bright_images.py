"""A folder of dark and of light images, and a network that tells them apart."""

from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras

SHAPE = (8, 8, 1)


def write_images(folder: Path, classes: tuple[str, str] = ("dark", "light")) -> None:
    """Eight images of each class in `train` and in `test`, one of them with a name that looks like
    a pattern."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label, name in enumerate(classes):
            (folder / split / name).mkdir(parents=True)
            for number in range(8):
                pixels = rng.integers(100 * label, 100 * label + 99, SHAPE, dtype=np.uint8)
                png = tf.io.encode_png(pixels).numpy()
                (folder / split / name / f"{number}{'?' if number == 7 else ''}.png").write_bytes(
                    png
                )


def classifier(bias: float) -> tf_keras.Model:
    """Right on `write_images` with a bias of 0.39, always the first class with one of 9."""
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(2)])
    half = np.ones((64, 1), np.float32) / 64
    model.layers[-1].set_weights([np.hstack([-half, half]), np.array([bias, -bias], np.float32)])
    return model
