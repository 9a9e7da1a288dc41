"""The ball of a threat model: projection, random start and check, shared by all attacks.

Knows nothing of models, files or pipelines.
"""

import tensorflow as tf

from robustness.config import Norm, ThreatModel
from robustness.types import (
    BatchTensor,
    FlagsTensor,
    ImagesTensor,
    NumbersTensor,
    SeedsTensor,
)

BALL_TOLERANCE = 1e-6
"""Slack of `inside_ball`: float32 rounding of x + delta is below 6e-8 for pixels in [0, 1]."""


def image_norm(delta: BatchTensor, norm: Norm) -> NumbersTensor:
    """Norm of each image of a batch."""
    flat = tf.reshape(delta, [tf.shape(delta)[0], -1])
    if norm is Norm.LINF:
        return tf.reduce_max(tf.abs(flat), axis=1)
    return tf.norm(flat, axis=1)


def project(x_adv: ImagesTensor, x: ImagesTensor, threat: ThreatModel) -> ImagesTensor:
    """A point of the ball around x and of [0, 1].

    L-infinity: the nearest one. L2: cut to [0, 1] first and then pulled straight towards x, which
    lies in [0, 1] itself, so that both hold. The other order would spend epsilon on pixels that
    cannot move.
    """
    return project_to(x_adv, x, threat.norm, threat.epsilon)


def project_to(
    x_adv: ImagesTensor, x: ImagesTensor, norm: Norm, epsilon: float | tf.Tensor
) -> ImagesTensor:
    """`project` with a radius that may be a tensor, float32 [], as it is in training."""
    if norm is Norm.LINF:
        return tf.clip_by_value(x + tf.clip_by_value(x_adv - x, -epsilon, epsilon), 0.0, 1.0)
    delta = tf.clip_by_value(x_adv, 0.0, 1.0) - x
    length = image_norm(delta, Norm.L2)[:, None, None, None]
    shrink = tf.minimum(1.0, epsilon / tf.maximum(length, 1e-12))
    return tf.clip_by_value(x + delta * shrink, 0.0, 1.0)


def random_start(
    x: ImagesTensor, seeds: SeedsTensor, threat: ThreatModel, on_surface: bool = False
) -> ImagesTensor:
    """A random point of each image's ball, clipped to [0, 1].

    Each image draws from its own seed, so its start depends neither on the batch size nor on its
    neighbours. L-infinity: uniform in the ball. L2: uniform direction and length uniform in
    [0, epsilon] (denser at the centre than a uniform draw).

    Args:
        x: images in [0, 1].
        seeds: seed of each image.
        threat: the ball.
        on_surface: whether to scale the point to norm epsilon.

    Returns:
        images in [0, 1], inside the ball.
    """
    draw = _box_move if threat.norm is Norm.LINF else _sphere_move
    shape = tf.shape(x)[1:]
    delta = tf.map_fn(
        lambda seed: draw(shape, seed, threat.epsilon, on_surface),
        seeds,
        fn_output_signature=tf.float32,
    )
    return project(x + delta, x, threat)


def _box_move(shape: tf.Tensor, seed: tf.Tensor, epsilon: float, on_surface: bool) -> tf.Tensor:
    """One image's random move of L-infinity."""
    delta = tf.random.stateless_uniform(shape, seed, -epsilon, epsilon)
    if not on_surface:
        return delta
    return epsilon * delta / tf.maximum(tf.reduce_max(tf.abs(delta)), 1e-12)


def _sphere_move(shape: tf.Tensor, seed: tf.Tensor, epsilon: float, on_surface: bool) -> tf.Tensor:
    """One image's random move of L2."""
    direction = tf.random.stateless_normal(shape, seed)
    length = epsilon if on_surface else tf.random.stateless_uniform([], seed + 1, 0.0, epsilon)
    return length * direction / tf.maximum(tf.norm(direction), 1e-12)


def inside_ball(x_adv: BatchTensor, x: BatchTensor, threat: ThreatModel) -> FlagsTensor:
    """Whether each image is finite, within epsilon of x (up to BALL_TOLERANCE) and within [0, 1].

    Args:
        x_adv: attacked images.
        x: their originals, in the same order.
        threat: the ball.
    """
    flat = tf.reshape(x_adv, [tf.shape(x_adv)[0], -1])
    near = image_norm(x_adv - x, threat.norm) <= threat.epsilon + BALL_TOLERANCE
    in_range = tf.reduce_all((flat >= 0.0) & (flat <= 1.0), axis=1)  # false for NaN
    return near & in_range
