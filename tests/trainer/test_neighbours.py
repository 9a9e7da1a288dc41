"""Neighbours of a batch: closed forms on linear losses."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_training import EPSILON, LINF
from small_world import SHAPE

from robustness.ball import inside_ball
from robustness.config import Norm, ThreatModel
from trainer.neighbours import neighbours
from trainer.step import Batch


def linear_loss(direction: np.ndarray) -> tf.Tensor:
    return lambda x: tf.reduce_sum(x * direction, axis=[1, 2, 3])


def test_one_step_begins_at_the_noise_and_goes_past_the_radius(batch: Batch) -> None:
    """Wong et al.: clip(x + eps * noise + 1.25 eps * sign(gradient)) to the ball, then to [0,
    1]."""
    direction = np.random.default_rng(3).normal(size=batch.x.shape).astype(np.float32)
    moved = EPSILON * batch.noise + 1.25 * EPSILON * np.sign(direction)
    expected = np.clip(batch.x + np.clip(moved, -EPSILON, EPSILON), 0, 1)
    found = neighbours(linear_loss(direction), batch.x, batch.noise, Norm.LINF, batch.epsilon, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.mean(np.abs(found - batch.x) < 0.99 * EPSILON) > 0.1, "the random start is still seen"


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(
    "threat", [LINF, ThreatModel(norm=Norm.L2, epsilon=1.0)], ids=["linf", "l2"]
)
def test_neighbours_lie_in_the_ball(batch: Batch, threat: ThreatModel, steps: int) -> None:
    direction = np.random.default_rng(3).normal(size=batch.x.shape).astype(np.float32)
    epsilon = tf.constant(threat.epsilon, tf.float32)
    found = neighbours(linear_loss(direction), batch.x, batch.noise, threat.norm, epsilon, steps)
    assert np.all(inside_ball(found, batch.x, threat))


def test_several_steps_reach_the_best_corner(batch: Batch) -> None:
    """On a linear loss: x + eps * sign(direction), cut to [0, 1]."""
    direction = np.random.default_rng(3).normal(size=batch.x.shape).astype(np.float32)
    found = neighbours(linear_loss(direction), batch.x, batch.noise, Norm.LINF, batch.epsilon, 4)
    np.testing.assert_allclose(
        found, np.clip(batch.x + EPSILON * np.sign(direction), 0, 1), atol=1e-6
    )


@pytest.mark.parametrize("norm", list(Norm))
def test_in_float16_images_that_the_network_is_sure_of_are_attacked_too(norm: Norm) -> None:
    """Probabilities of exp(-14) are no float16 any more when they come back through a layer as a
    gradient of 0.01."""
    dense = tf_keras.layers.Dense(
        2, dtype="mixed_float16", kernel_initializer=tf_keras.initializers.Constant(0.01)
    )
    flat = tf_keras.Sequential([tf_keras.Input(SHAPE), tf_keras.layers.Flatten(), dense])

    def loss(x: tf.Tensor) -> tf.Tensor:
        sure = tf.cast(flat(x), tf.float32) + tf.constant([14.0, 0.0])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.zeros(len(x), tf.int64), sure * [1.0, 2.0]
        )

    x, still = tf.fill([4, *SHAPE], 0.5), tf.zeros([4, *SHAPE])
    moved = neighbours(loss, x, still, norm, tf.constant(0.1), steps=1)
    assert np.abs(moved - x).max(axis=(1, 2, 3)).min() > 0.001
