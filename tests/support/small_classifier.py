"""A small network on the small world's images, and some images for it."""

from types import SimpleNamespace

import numpy as np
import tf_keras
from small_world import CLASSES, SHAPE, small_images

from robustness.config import BoundName, Fgsm, Pgd

STAGES = (BoundName.IBP, Fgsm(), Pgd(steps=5), BoundName.CROWN)
EPSILON = 0.03


def trained_model() -> tf_keras.Model:
    """Trained enough for the radius to leave images of every kind: wrong, broken, proven, open."""
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Input(SHAPE),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(CLASSES),
        ]
    )
    model.compile("adam", tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    images, labels = small_images(600, 0)
    model.fit(images / 255.0, labels, epochs=3, batch_size=30, verbose=0)
    return model


LINEAR_EPSILON = 0.15


def linear_model() -> tf_keras.Model:
    """A linear classifier, on which gradient attacks and bounds find all that there is: at
    `LINEAR_EPSILON` some images of `some_images` are broken, most are proven."""
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    model = tf_keras.Sequential([layers.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)])
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(0.003), loss)
    images, labels = small_images(600, 0)
    model.fit(images / 255.0, labels, epochs=10, batch_size=30, verbose=0)
    return model


def some_images() -> SimpleNamespace:
    """`x`, `y` and `ids` of 120 images."""
    images, labels = small_images(120, 2)
    ids = [b"%d" % i for i in range(len(labels))]
    return SimpleNamespace(
        x=(images / 255.0).astype(np.float32), y=labels.astype(np.int64), ids=ids
    )
