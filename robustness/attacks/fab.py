"""The targeted FAB attack: towards the nearest misclassified point (Croce & Hein 2020, "Minimally distorted
adversarial examples with a fast adaptive boundary attack").

Each step crosses the linearised boundary between the true class and the target, from the present point and
from the clean image, and goes to a mixture of both. Knows one model and one threat model.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from robustness.arrays import FloatArray, IntArray, Model, restart_seeds
from robustness.attacks.pgd import POINTS_BETWEEN_COMPACTIONS
from robustness.ball import image_norm, project, random_start
from robustness.config import Attack, Norm, ThreatModel
from robustness.losses import pick

ALPHA_MAX, ETA, BETA = 0.1, 1.05, 0.9
"""Published values: largest weight of the clean image's projection, overshoot, and pull back towards the
clean image from a misclassified point."""


class FabT:
    """FAB-T on one model, compiled once for all batch sizes."""

    def __init__(self, model: Model, threat: ThreatModel) -> None:
        self._model, self._threat = model, threat
        images, labels = tf.TensorSpec([None, None, None, None], tf.float32), tf.TensorSpec([None], tf.int64)
        self._rank = tf.function(self._likeliest, input_signature=[images, labels])
        self._start = tf.function(
            lambda x, seeds: x + (random_start(x, seeds, threat, on_surface=True) - x) / 2,
            input_signature=[images, tf.TensorSpec([None, 2], tf.int64)],
        )
        self._approach = tf.function(
            self._approach_batch, input_signature=[images, images, labels, labels, tf.TensorSpec([], tf.int32)]
        )

    def run(self, x: FloatArray, y: IntArray, seeds: IntArray, attack: Attack) -> FloatArray:
        """The attack with its published constants.

        Deviations: an image is done with the first misclassified point inside the ball, whose norm is not
        minimised further. The first restart begins at the clean image, later ones half-way to the
        surface of the ball.

        Args:
            x: float32 [n, h, w, c] in [0, 1].
            y: int64 [n], true labels.
            seeds: int64 [n, 2] from `image_seeds`; only used from the second restart on.
            attack: steps, restarts, targets.

        Returns:
            float32 [n, h, w, c], inside the ball and [0, 1]: a misclassified point, else the clean image.
        """
        result = x.copy()
        if not len(x):
            return result
        ranked = np.asarray(self._rank(x, y))[:, : attack.targets]
        open_rows = np.arange(len(x))
        for restart in range(attack.restarts):
            for rank in range(ranked.shape[1]):
                rows = open_rows
                start = x[rows]
                if restart:
                    start = np.asarray(self._start(x[rows], restart_seeds(seeds[rows], restart)))
                found, broken = self._towards(start, x[rows], y[rows], ranked[rows, rank], attack.steps)
                result[rows[broken]] = found[broken]
                open_rows = rows[~broken]
                if not len(open_rows):
                    return result
        return result

    def _towards(
        self, start: FloatArray, x: FloatArray, y: IntArray, target: IntArray, steps: int
    ) -> tuple[FloatArray, Any]:
        """One run towards one target: the points found, and where one was found."""
        found, broken, rows, iterate = x.copy(), np.zeros(len(x), bool), np.arange(len(x)), start
        for done in range(0, steps, POINTS_BETWEEN_COMPACTIONS):
            count = min(POINTS_BETWEEN_COMPACTIONS, steps - done)
            moved = self._approach(iterate, x[rows], y[rows], target[rows], count)
            iterate, candidate, wrong = (np.asarray(t) for t in moved)
            found[rows[wrong]], broken[rows[wrong]] = candidate[wrong], True
            rows, iterate = rows[~wrong], iterate[~wrong]
            if not len(rows):
                break
        return found, broken

    def _likeliest(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        """All wrong classes, the likeliest first: int64 [n, k - 1]."""
        logits = self._model(x, training=False)
        wrong_only = tf.where(tf.one_hot(y, tf.shape(logits)[1], on_value=True, off_value=False), -np.inf, logits)
        return tf.argsort(wrong_only, axis=1, direction="DESCENDING", stable=True)[:, :-1]

    def _approach_batch(
        self, iterate: tf.Tensor, x: tf.Tensor, y: tf.Tensor, target: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """`count` steps; the points reached, and of each image a misclassified point inside the ball, if any."""
        target = tf.cast(target, tf.int64)
        found, broken = x, tf.zeros_like(y, tf.bool)
        for _ in tf.range(count):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(iterate)
                logits = self._model(iterate, training=False)
                margin = pick(logits, target) - pick(logits, y)  # negative until the boundary is crossed
            slope = tape.gradient(margin, iterate, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            wanted = -margin  # what the linearised margin must gain, from the iterate
            from_clean = wanted + tf.reduce_sum(slope * (iterate - x), axis=[1, 2, 3])
            delta = to_hyperplane(iterate, slope, wanted, self._threat.norm)
            clean_delta = to_hyperplane(x, slope, from_clean, self._threat.norm)
            near, far = (
                tf.maximum(image_norm(d, self._threat.norm), 1e-8)[:, None, None, None] for d in (delta, clean_delta)
            )
            alpha = tf.minimum(near / (near + far), ALPHA_MAX)
            iterate = tf.clip_by_value(
                (1 - alpha) * (iterate + ETA * delta) + alpha * (x + ETA * clean_delta), 0.0, 1.0
            )
            crossed = self._misclassified(iterate, y)
            inside = project(iterate, x, self._threat)
            close = image_norm(iterate - x, self._threat.norm) <= self._threat.epsilon * (1 + 1e-6)
            hit = crossed & close & ~broken
            found = tf.where(hit[:, None, None, None], inside, found)
            broken |= hit
            iterate = tf.where(crossed[:, None, None, None], x + BETA * (iterate - x), iterate)
        return iterate, found, broken & self._misclassified(found, y)  # what counts is the projected image

    def _misclassified(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        return tf.argmax(self._model(x, training=False), axis=1) != y


def to_hyperplane(x: tf.Tensor, slope: tf.Tensor, wanted: tf.Tensor, norm: Norm) -> tf.Tensor:
    """The smallest move inside [0, 1] after which a linear function has gained `wanted`.

    Pixel i moves by min(lambda * a_i, room_i) in the direction that helps, with a = 1 for L-infinity and
    a = |slope| for L2; lambda solves sum |slope_i| min(lambda * a_i, room_i) = |wanted|, which grows linearly
    between the sorted room_i / a_i.

    Args:
        x: float32 [n, h, w, c] in [0, 1].
        slope: float32 [n, h, w, c], the linear function.
        wanted: float32 [n], of either sign.
        norm: that the move minimises.

    Returns:
        float32 [n, h, w, c]; where [0, 1] allows less than is wanted, the move that gains most.
    """
    shape = tf.shape(x)
    flat, weights = tf.reshape(x, [shape[0], -1]), tf.reshape(slope, [shape[0], -1])
    weights *= tf.where(wanted < 0, -1.0, 1.0)[:, None]
    size = tf.abs(weights)
    room = tf.where(weights > 0, 1.0 - flat, flat)
    pace = tf.ones_like(size) if norm is Norm.LINF else size
    stops = room / tf.maximum(pace, 1e-12)
    order = tf.argsort(stops, axis=1)
    stops, gains, rates = (tf.gather(t, order, batch_dims=1) for t in (stops, size * room, size * pace))
    stopped = tf.cumsum(gains, axis=1, exclusive=True)  # by pixels that have no room left
    rate = tf.cumsum(rates, axis=1, reverse=True)  # of those that still have
    reached = stopped + rate * stops  # gained when the pixel itself stops
    needed = tf.abs(wanted)[:, None]
    segment = tf.argmax(reached >= needed, axis=1)  # the first; 0 where there is none
    enough = tf.reduce_any(reached >= needed, axis=1, keepdims=True)
    stopped, rate = (tf.gather(t, segment, batch_dims=1)[:, None] for t in (stopped, rate))
    multiplier = (needed - stopped) / tf.maximum(rate, 1e-30)
    move = tf.where(enough, tf.minimum(tf.maximum(multiplier, 0.0) * pace, room), room)
    return tf.reshape(tf.sign(weights) * move, shape)
