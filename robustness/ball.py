"""The ball of a threat model: projection, random start and check, shared by all attacks.

Knows nothing of models, files or pipelines.
"""

import tensorflow as tf

from robustness.config import Norm, ThreatModel

BALL_TOLERANCE = 1e-6
"""Slack of `inside_ball`: float32 rounding of x + delta is below 6e-8 for pixels in [0, 1]."""


def image_norm(delta: tf.Tensor, norm: Norm) -> tf.Tensor:
    """Norm of each image of a batch: float32 [n, ...] -> float32 [n]."""
    flat = tf.reshape(delta, [tf.shape(delta)[0], -1])
    if norm is Norm.LINF:
        return tf.reduce_max(tf.abs(flat), axis=1)
    return tf.norm(flat, axis=1)


def project(x_adv: tf.Tensor, x: tf.Tensor, threat: ThreatModel) -> tf.Tensor:
    """A point of the ball around x and of [0, 1]; float32 [n, h, w, c] each.

    L-infinity: the nearest one. L2: cut to [0, 1] first and then pulled straight towards x, which
    lies in [0, 1] itself, so that both hold. The other order would spend epsilon on pixels that
    cannot move.
    """
    return project_to(x_adv, x, threat.norm, threat.epsilon)


def project_to(x_adv: tf.Tensor, x: tf.Tensor, norm: Norm, epsilon: float | tf.Tensor) -> tf.Tensor:
    """`project` with a radius that may be a tensor, float32 [], as it is in training."""
    if norm is Norm.LINF:
        return tf.clip_by_value(x + tf.clip_by_value(x_adv - x, -epsilon, epsilon), 0.0, 1.0)
    delta = tf.clip_by_value(x_adv, 0.0, 1.0) - x
    length = image_norm(delta, Norm.L2)[:, None, None, None]
    return tf.clip_by_value(
        x + delta * tf.minimum(1.0, epsilon / tf.maximum(length, 1e-12)), 0.0, 1.0
    )


def random_start(
    x: tf.Tensor, seeds: tf.Tensor, threat: ThreatModel, on_surface: bool = False
) -> tf.Tensor:
    """A random point of each image's ball, clipped to [0, 1].

    Each image draws from its own seed, so its start depends neither on the batch size nor on its
    neighbours. L-infinity: uniform in the ball. L2: uniform direction and length uniform in
    [0, epsilon] (denser at the centre than a uniform draw). On the surface: scaled to norm epsilon.

    Args:
        x: float32 [n, h, w, c] in [0, 1].
        seeds: int64 [n, 2], one stateless seed an image.
        threat: the ball.

    Returns:
        float32 [n, h, w, c] in [0, 1], inside the ball.
    """
    shape = tf.shape(x)[1:]

    def draw(seed: tf.Tensor) -> tf.Tensor:
        if threat.norm is Norm.LINF:
            delta = tf.random.stateless_uniform(shape, seed, -threat.epsilon, threat.epsilon)
            return (
                threat.epsilon * delta / tf.maximum(tf.reduce_max(tf.abs(delta)), 1e-12)
                if on_surface
                else delta
            )
        direction = tf.random.stateless_normal(shape, seed)
        length = (
            threat.epsilon
            if on_surface
            else tf.random.stateless_uniform([], seed + 1, 0.0, threat.epsilon)
        )
        return length * direction / tf.maximum(tf.norm(direction), 1e-12)

    delta = tf.map_fn(draw, seeds, fn_output_signature=tf.float32)
    return project(x + delta, x, threat)


def inside_ball(x_adv: tf.Tensor, x: tf.Tensor, threat: ThreatModel) -> tf.Tensor:
    """Whether each image is finite, within epsilon of x (tolerance 1e-6) and within [0, 1].

    Args:
        x_adv: float32 [n, h, w, c], the attacked images.
        x: float32 [n, h, w, c], the originals, in the same order.
        threat: the ball.

    Returns:
        bool [n].
    """
    flat = tf.reshape(x_adv, [tf.shape(x_adv)[0], -1])
    near = image_norm(x_adv - x, threat.norm) <= threat.epsilon + BALL_TOLERANCE
    in_range = tf.reduce_all((flat >= 0.0) & (flat <= 1.0), axis=1)  # false for NaN
    return near & in_range
