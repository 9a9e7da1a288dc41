"""Gradients, steepest steps and Adam, against closed forms and the papers' in NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from robustness.ascent import adam, slope, steepest
from robustness.config import Norm

X = np.random.default_rng(0).uniform(size=(3, 2, 2, 1)).astype(np.float32)
W = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)


def linear(x: tf.Tensor, training: bool) -> tf.Tensor:
    return tf.reshape(x, [-1, 4]) @ W


def rounding(x: tf.Tensor, training: bool) -> tf.Tensor:
    return linear(tf.round(x * 255) / 255, training)


def test_the_slope_of_a_linear_model_is_its_weights() -> None:
    gradient, value, logits = slope(linear, tf.constant(X), lambda logits: logits[:, 1])
    np.testing.assert_allclose(gradient, np.tile(W[:, 1].reshape(1, 2, 2, 1), (3, 1, 1, 1)))
    np.testing.assert_allclose(logits, X.reshape(3, 4) @ W, rtol=1e-5)
    np.testing.assert_array_equal(value, logits[:, 1])


def test_behind_a_rounding_the_slope_is_zero() -> None:
    gradient, value, _ = slope(rounding, tf.constant(X), lambda logits: logits[:, 1])
    np.testing.assert_array_equal(gradient, np.zeros_like(X))
    assert np.all(value != 0)


@pytest.mark.parametrize("norm", Norm)
def test_a_steepest_step_is_of_norm_one_and_ignores_what_is_not_finite(norm: Norm) -> None:
    gradient = np.array([3.0, -4.0, np.nan, np.inf], np.float32).reshape(1, 2, 2, 1)
    expected = [1.0, -1.0, 0.0, 0.0] if norm is Norm.LINF else [0.6, -0.8, 0.0, 0.0]
    np.testing.assert_allclose(np.ravel(steepest(tf.constant(gradient), norm)), expected)


def test_adam_is_that_of_the_paper() -> None:
    """Kingma & Ba 2015, algorithm 1, upwards on -(x - 1)^2 and in a nest of tensors."""
    rate, decay = 0.1, (0.9, 0.99)
    values, moments = [tf.constant([0.0, 3.0])], ([tf.zeros(2)], [tf.zeros(2)])
    x, m, v = np.array([0.0, 3.0]), np.zeros(2), np.zeros(2)
    for t in range(1, 6):
        gradients = [2 * (1 - values[0])]
        values, moments = adam(values, moments, gradients, rate, tf.constant(t - 1), decay)
        g = 2 * (1 - x)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        x = x + rate * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.99**t))
        np.testing.assert_allclose(values[0], x, rtol=1e-4)
