"""Bounds to train with: those of the certifier up to rounding, and gradients that follow the
weights."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from bounded_networks import (
    CLASSES,
    EVERY_NETWORK,
    SHAPE,
    convolutions,
    images,
    keras,
    network,
    predictions,
)

from robustness.bounds.certifier import Certifier
from robustness.bounds.training import TrainingBounds
from robustness.config import BoundName


@EVERY_NETWORK
def test_training_bounds_are_the_certifiers_up_to_rounding(
    body: Callable[[tf.Tensor], tf.Tensor],
) -> None:
    model, x = network(body), images()
    y = predictions(model, x)
    expected = Certifier(model, SHAPE, 0.05).tighten(BoundName.IBP, x, y)
    bounds = TrainingBounds(model, SHAPE)
    low, high = (np.clip(x + np.float32(reach), 0, 1) for reach in (-0.05, 0.05))
    boxes = bounds.boxes(tf.constant(low), tf.constant(high))
    worst = bounds.worst_logits(boxes, tf.constant(y)).numpy()
    assert np.all(worst[np.arange(len(y)), y] == 0)
    others = ~np.eye(CLASSES, dtype=bool)[y]
    np.testing.assert_allclose(worst[others], -expected[others], rtol=1e-3, atol=1e-3)


def test_training_bounds_follow_the_variables() -> None:
    """Their gradient agrees with a finite difference."""
    model, x = network(convolutions), images()
    y = tf.constant(predictions(model, x))
    bounds, bias = TrainingBounds(model, SHAPE), model.layers[1].bias

    def worst() -> tf.Tensor:
        boxes = bounds.boxes(tf.constant(x - 0.05), tf.constant(x + 0.05))
        return tf.reduce_sum(bounds.worst_logits(boxes, y))

    with tf.GradientTape() as tape:
        before = worst()
    gradient = tape.gradient(before, bias)
    bias.assign_add([1e-3, 0.0, 0.0])
    np.testing.assert_allclose((worst() - before) / 1e-3, gradient[0], rtol=0.05)


def test_warm_up_loss_by_hand() -> None:
    """One ReLU layer on two pixels: widths 2 of the image become 2 and 8, and one ReLU of two is
    active."""
    inputs = tf_keras.Input((1, 2, 1))
    hidden = keras.Dense(2, activation="relu")(keras.Flatten()(inputs))
    model = tf_keras.Model(inputs, keras.Dense(2)(hidden))
    model.layers[2].set_weights([np.array([[1.0, 0.0], [0.0, 4.0]]), np.array([2.0, -9.0])])
    bounds = TrainingBounds(model, (1, 2, 1))
    boxes = bounds.boxes(tf.zeros((1, 1, 2, 1)), tf.fill((1, 1, 2, 1), 2.0))
    tightness = 0.5 - 1.0 / 2.5  # mean radii 1 of the image, 1 and 4 of the operands
    balance = 0.5 - 3.0 / 5.0  # centres 3 (active) and -5 (inactive)
    assert float(bounds.warm_up_loss(boxes)[0]) == pytest.approx(
        tightness + max(balance, 0.0), abs=1e-6
    )
    model.layers[2].set_weights([np.array([[1.0, 0.0], [0.0, 4.0]]), np.array([2.0, -24.0])])
    boxes = bounds.boxes(tf.zeros((1, 1, 2, 1)), tf.fill((1, 1, 2, 1), 2.0))
    assert float(bounds.warm_up_loss(boxes)[0]) == pytest.approx(
        tightness + 0.5 - 3.0 / 20.0, abs=1e-6
    )
