"""The targeted FAB attack: towards the nearest misclassified point (Croce & Hein 2020, "Minimally
distorted adversarial examples with a fast adaptive boundary attack").

Each step crosses the linearised boundary between the true class and a target, once from the present
point and once from the clean image, and goes to a mixture of both; a misclassified point is pulled
back towards the clean image. No step size depends on epsilon, so it finds what attacks that are
tuned to the ball overlook. Knows one model and one threat model; ids, files and other attacks are
not its business.

Hyper-parameters and order of work are those of the standard suite of AutoAttack (Croce & Hein
2020). Deviations:

- An image is done with its first misclassified point inside the ball, whose norm is not minimised
  further. Of points outside nothing is kept: the published code remembers the nearest only to
  report it, and its steps do not depend on it.
- A point inside the ball is projected onto it before the model is asked about it, which moves it by
  rounding only: what the model was asked about is what is returned.
- Pixels whose slope is below 1e-8 stay where they are in L2, as in the published code, but only
  while that is less than 1e-4 of the largest slope: on a model with tiny gradients the published
  code stands still.
- Restarts draw from the seed of each image.
"""

import numpy as np
import tensorflow as tf
from jaxtyping import Bool, Float32

from foundation.seeds import Seeds, restart_seeds
from robustness.ascent import slope
from robustness.attacks.pgd import POINTS_BETWEEN_COMPACTIONS
from robustness.ball import image_norm, inside_ball, project, random_start
from robustness.config import FabT, Norm, ThreatModel
from robustness.inputs import image_spec
from robustness.losses import VERY_LOW, pick
from robustness.types import (
    Flags,
    FlagsTensor,
    Images,
    ImagesTensor,
    Labels,
    LabelsTensor,
    Model,
    NumbersTensor,
)

Column = Float32[tf.Tensor, "n 1"]
FlagColumn = Bool[tf.Tensor, "n 1"]
Flat = Float32[tf.Tensor, "n pixels"]

ALPHA_MAX = 0.1
"""Largest weight of the clean image's projection in the mixture."""

ETA = 1.05
"""Both projections overshoot the hyperplane by this factor."""

BETA = 0.9
"""A misclassified point keeps this share of its distance from the clean image."""

NEGLIGIBLE, NEGLIGIBLE_SHARE = 1e-8, 1e-4
"""Slopes below both, the latter as a share of the largest, are rounding and not worth any distance
in L2."""


class CompiledFab:
    """FAB-T on one model, compiled once for all batch sizes."""

    def __init__(self, model: Model, threat: ThreatModel) -> None:
        self._model, self._threat = model, threat
        images = image_spec(model)
        labels, seeds = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None, 2], tf.int64)
        count = tf.TensorSpec([], tf.int32)
        halfway = ThreatModel(norm=threat.norm, epsilon=threat.epsilon / 2)
        self._rank = tf.function(self._rank_batch, input_signature=[images, labels])
        self._start = tf.function(
            lambda x, seeds: random_start(x, seeds, halfway, on_surface=True),
            input_signature=[images, seeds],
        )
        self._approach = tf.function(
            self._approach_batch, input_signature=[images, images, labels, labels, count]
        )

    def run(self, x: Images, y: Labels, seeds: Seeds, attack: FabT) -> Images:
        """The attack, target by target, the likeliest wrong class on the clean image first.

        The first restart begins at the clean image, later ones at a random point half-way to the
        surface of the ball. With fewer wrong classes than `targets`, it aims at all of them.

        Args:
            x: images in [0, 1].
            y: true labels.
            seeds: what the starts of later restarts are drawn from.
            attack: the effort.

        Returns:
            images inside the ball and [0, 1]: a misclassified point where there was one (the clean
            image itself where the model is wrong on it), otherwise the clean image.
        """
        result = x.copy()
        if not len(x):
            return result
        ranked, right = (np.asarray(t) for t in self._rank(x, y))
        rows = np.flatnonzero(right)
        for rank in range(min(attack.targets, ranked.shape[1])):
            for restart in range(attack.restarts):
                if not len(rows):
                    return result
                start = x[rows]
                if restart:
                    # A draw of its own for each target, however many targets and restarts.
                    draw = restart * ranked.shape[1] + rank
                    start = np.asarray(self._start(start, restart_seeds(seeds[rows], draw)))
                points, broken = self._towards(
                    start, x[rows], y[rows], ranked[rows, rank], attack.steps
                )
                result[rows[broken]] = points[broken]
                rows = rows[~broken]
        return result

    def _towards(
        self, start: Images, x: Images, y: Labels, target: Labels, steps: int
    ) -> tuple[Images, Flags]:
        """One run towards one target: the misclassified points, and which images have one."""
        points, broken, rows, iterate = x.copy(), np.zeros(len(x), bool), np.arange(len(x)), start
        for done in range(0, steps, POINTS_BETWEEN_COMPACTIONS):
            count = min(POINTS_BETWEEN_COMPACTIONS, steps - done)
            moved = self._approach(iterate, x[rows], y[rows], target[rows], count)
            iterate, points[rows], broken[rows] = (np.asarray(t) for t in moved)
            iterate, rows = iterate[~broken[rows]], rows[~broken[rows]]
            if not len(rows):
                break
        return points, broken

    def _rank_batch(self, x: ImagesTensor, y: LabelsTensor) -> tuple[tf.Tensor, FlagsTensor]:
        """All wrong classes, the likeliest first, int64 [n, k - 1], and whether the model is
        right."""
        logits = self._model(x, training=False)
        true = tf.one_hot(y, tf.shape(logits)[1], on_value=True, off_value=False)
        order = tf.argsort(
            tf.where(true, VERY_LOW, logits), axis=1, direction="DESCENDING", stable=True
        )
        return tf.cast(order[:, :-1], tf.int64), tf.argmax(logits, axis=1) == y

    def _approach_batch(
        self,
        iterate: ImagesTensor,
        x: ImagesTensor,
        y: LabelsTensor,
        target: LabelsTensor,
        count: tf.Tensor,
    ) -> tuple[ImagesTensor, ImagesTensor, FlagsTensor]:
        """`count` steps; returns the points reached, the first misclassified point of each image
        inside the ball (otherwise x), and whether there is one."""
        points, broken = x, tf.zeros_like(y, tf.bool)
        for _ in tf.range(count):
            iterate = self._step(iterate, x, y, target)
            inside = inside_ball(iterate, x, self._threat)
            iterate = tf.where(wide(inside), project(iterate, x, self._threat), iterate)
            wrong = tf.argmax(self._model(iterate, training=False), axis=1) != y
            points = tf.where(wide(inside & wrong & ~broken), iterate, points)
            broken |= inside & wrong
            iterate = tf.where(wide(wrong), x + BETA * (iterate - x), iterate)
        return iterate, points, broken

    def _step(
        self, iterate: ImagesTensor, x: ImagesTensor, y: LabelsTensor, target: LabelsTensor
    ) -> ImagesTensor:
        """To the mixture of the two overshot projections (the paper's algorithm 1, without its pull
        back)."""
        gradient, margin, _ = slope(
            self._model, iterate, lambda logits: pick(logits, target) - pick(logits, y)
        )
        moves, weights = [], []
        for point in (iterate, x):
            # From the point to margin 0.
            gain = tf.reduce_sum(gradient * (iterate - point), axis=[1, 2, 3]) - margin
            moves.append(to_hyperplane(point, gradient, gain, self._threat.norm))
            weights.append(tf.maximum(image_norm(moves[-1], self._threat.norm), 1e-8))
        alpha = wide(tf.minimum(weights[0] / (weights[0] + weights[1]), ALPHA_MAX))
        mixture = (1.0 - alpha) * (iterate + ETA * moves[0]) + alpha * (x + ETA * moves[1])
        return tf.clip_by_value(mixture, 0.0, 1.0)


def wide(values: NumbersTensor | FlagsTensor) -> tf.Tensor:
    """[n] -> [n, 1, 1, 1]."""
    return values[:, None, None, None]


def to_hyperplane(
    point: ImagesTensor, gradient: ImagesTensor, gain: NumbersTensor, norm: Norm
) -> ImagesTensor:
    """The smallest move inside [0, 1] along which a linear function gains a given amount.

    Pixel i goes min(t * pace_i, room_i) in the direction that helps, where room_i is its distance
    to 0 or 1 there, and pace_i is 1 for L-infinity and |gradient_i| for L2; t is the time that the
    gain takes.

    Args:
        point: images in [0, 1].
        gradient: slopes of the linear function.
        gain: how much is gained, of either sign.
        norm: what the move minimises.

    Returns:
        the move; where [0, 1] allows no such gain, the one that comes closest to it. Pixels without
        slope, for L2 with a negligible one, do not move.
    """
    sign = tf.where(gain < 0.0, -1.0, 1.0)[:, None]
    weights = tf.reshape(gradient, [tf.shape(gradient)[0], -1]) * sign
    scale = tf.reduce_max(tf.abs(weights), axis=1, keepdims=True)
    if norm is Norm.L2:
        negligible = tf.abs(weights) < tf.minimum(NEGLIGIBLE, NEGLIGIBLE_SHARE * scale)
        weights = tf.where(negligible, 0.0, weights)
    weights = tf.math.divide_no_nan(weights, scale)  # tiny gradients would vanish when squared
    flat, size = tf.reshape(point, tf.shape(weights)), tf.abs(weights)
    room = tf.where(weights > 0.0, 1.0 - flat, flat)
    pace = tf.ones_like(size) if norm is Norm.LINF else size
    wanted = tf.math.divide_no_nan(tf.abs(gain)[:, None], scale)
    t, enough = time_to_gain(wanted, tf.math.divide_no_nan(room, pace), size * pace)
    length = tf.where(enough, tf.minimum(t * pace, room), room)
    return tf.reshape(tf.sign(weights) * length, tf.shape(point))


def time_to_gain(wanted: Column, stops: Flat, rates: Flat) -> tuple[Column, FlagColumn]:
    """When the sum over i of rates_i * min(t, stops_i) reaches what is wanted.

    It is linear in t between the sorted stops, so the segment in which it does gives t exactly.

    Args:
        wanted, stops, rates: not negative.

    Returns:
        t, and whether it ever does; t means nothing where it does not.
    """
    backwards, order = tf.math.top_k(-stops, tf.shape(stops)[1])
    stops, rates = -backwards, tf.gather(rates, order, batch_dims=1)
    done = tf.cumsum(rates * stops, axis=1, exclusive=True)  # by what has stopped before
    rate = tf.cumsum(rates, axis=1, reverse=True)  # of what goes on
    enough = done + rate * stops >= wanted
    segment = tf.argmax(enough, axis=1)  # the first
    done, rate = (tf.gather(values, segment, batch_dims=1)[:, None] for values in (done, rate))
    t = tf.math.divide_no_nan(tf.maximum(wanted - done, 0.0), rate)
    return t, tf.reduce_any(enough, axis=1, keepdims=True)
