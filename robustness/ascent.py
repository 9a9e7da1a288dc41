"""What climbs: the gradient of a loss for the image, its steepest step, and Adam.

Shared by attacks, which climb on images, and by bounds, which climb on the lines around ReLUs.
Knows no threat model.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import tensorflow as tf

from robustness.config import Norm
from robustness.types import ImagesTensor, LogitsTensor, Model, NumbersTensor

Nest = TypeVar("Nest")
"""Tensors in lists and tuples, as `tf.nest` takes them apart."""


class Slope(NamedTuple):
    """A loss at each image: its gradient, its value, and the logits from which it was computed."""

    gradient: ImagesTensor
    value: NumbersTensor
    logits: LogitsTensor


def slope(model: Model, x: ImagesTensor, loss: Callable[[LogitsTensor], NumbersTensor]) -> Slope:
    """A loss of the logits, and its gradient for the images.

    Where the loss does not depend on the image, as behind a rounding, TensorFlow has no gradient.
    Here it is zero, so that an attack runs to its end and the honesty checks see why it failed.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        logits = model(x, training=False)
        value = loss(logits)
    gradient = tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if gradient.shape != x.shape:  # some operations forget it on the way back
        gradient = tf.ensure_shape(gradient, x.shape)
    return Slope(gradient, value, logits)


def steepest(gradient: ImagesTensor, norm: Norm) -> ImagesTensor:
    """Unit step of steepest ascent in `norm`, image by image; 0 where it is not finite."""
    gradient = tf.where(tf.math.is_finite(gradient), gradient, 0.0)
    if norm is Norm.LINF:
        return tf.sign(gradient)
    length = tf.norm(tf.reshape(gradient, [tf.shape(gradient)[0], -1]), axis=1)
    return gradient / tf.maximum(length, 1e-12)[:, None, None, None]


def adam(
    values: Nest,
    moments: tuple[Nest, Nest],
    gradients: Nest,
    rate: float | tf.Tensor,
    step: tf.Tensor,
    decay: tuple[float, float],
) -> tuple[Nest, tuple[Nest, Nest]]:
    """One step of Adam (Kingma & Ba 2015, algorithm 1), upwards.

    Args:
        values: what moves, float32.
        moments: decaying means of the gradients and of their squares; zeros before the first step.
        gradients: in the structure of the values.
        rate: step size.
        step: number of this step, int32 [], from 0.
        decay: of the two moments.

    Returns:
        the values and the moments after the step.
    """
    first, second = decay
    means, squares = moments
    means = tf.nest.map_structure(lambda m, g: first * m + (1 - first) * g, means, gradients)
    squares = tf.nest.map_structure(
        lambda s, g: second * s + (1 - second) * g * g, squares, gradients
    )
    made = tf.cast(step, tf.float32) + 1
    scale = rate * tf.sqrt(1 - second**made) / (1 - first**made)
    values = tf.nest.map_structure(
        lambda value, m, s: value + scale * m / (tf.sqrt(s) + 1e-12), values, means, squares
    )
    return values, (means, squares)
