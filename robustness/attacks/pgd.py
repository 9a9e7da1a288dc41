"""FGSM, and projected gradient ascent with restarts, momentum and a choice of loss.

Knows one model, one threat model and one loss; ids, files and other attacks are not its business.
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from foundation.seeds import restart_seeds
from robustness.ball import project, random_start
from robustness.config import Attack, Norm, ThreatModel
from robustness.losses import Loss
from robustness.types import FloatArray, IntArray, Model

POINTS_BETWEEN_COMPACTIONS = 5
"""Misclassified images are dropped after judging so many points: they need no more work."""


class Pgd:
    """PGD on one model, its gradient steps compiled once for all batch sizes."""

    def __init__(self, model: Model, threat: ThreatModel, loss: Loss) -> None:
        self._model, self._threat, self._loss = model, threat, loss
        images = tf.TensorSpec([None, None, None, None], tf.float32)
        labels = tf.TensorSpec([None], tf.int64)
        number, count = tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int32)
        self._step = tf.function(self._one_step, input_signature=[images, labels])
        self._start = tf.function(
            lambda x, seeds: random_start(x, seeds, threat),
            input_signature=[images, tf.TensorSpec([None, 2], tf.int64)],
        )
        self._climb = tf.function(
            self._climb_batch,
            input_signature=[
                images,
                images,
                images,
                labels,
                count,
                number,
                number,
                tf.TensorSpec([], tf.bool),
            ],
        )

    def fgsm(self, x: FloatArray, y: IntArray) -> FloatArray:
        """One full step along the sign of the gradient (Goodfellow et al. 2015); L2: along the
        gradient.

        Args and result as in `run`, without randomness.
        """
        return np.asarray(self._step(x, y))

    def run(
        self, x: FloatArray, y: IntArray, seeds: IntArray, attack: Attack, to_the_end: bool = False
    ) -> FloatArray:
        """Projected gradient ascent (Madry et al. 2018), with accumulated gradients when `momentum`
        > 0 (Dong et al. 2018).

        Deviations: every restart starts at random, and an image that is misclassified is done. Of
        an image that no restart breaks, the iterate with the highest loss is kept.

        Args:
            x: float32 [n, h, w, c] in [0, 1].
            y: int64 [n], true labels.
            seeds: int64 [n, 2] from `image_seeds`.
            attack: steps, restarts, step_size, momentum.
            to_the_end: climb on from misclassified points and return the point with the highest
                loss, as images need that shall fool another model.

        Returns:
            float32 [n, h, w, c], inside the ball and [0, 1].
        """
        step_size = attack.resolved_step_size(self._threat)
        best, best_loss = x.copy(), np.full(len(x), -np.inf, np.float32)
        open_rows = np.arange(len(x))
        for restart in range(attack.restarts):
            if not len(open_rows):
                break
            rows = open_rows
            iterate = np.asarray(self._start(x[rows], restart_seeds(seeds[rows], restart)))
            direction = np.zeros_like(iterate)
            points_left = attack.steps + 1  # the start and the point after each step
            broken: list[IntArray] = []
            while points_left and len(rows):
                points = min(POINTS_BETWEEN_COMPACTIONS, points_left)
                climbed = self._climb(
                    iterate,
                    direction,
                    x[rows],
                    y[rows],
                    points,
                    step_size,
                    attack.momentum,
                    to_the_end,
                )
                iterate, direction, candidate, loss, wrong = (np.asarray(t) for t in climbed)
                better = wrong | (loss > best_loss[rows])
                best[rows[better]], best_loss[rows[better]] = candidate[better], loss[better]
                broken.append(rows[wrong])
                rows, iterate, direction = rows[~wrong], iterate[~wrong], direction[~wrong]
                points_left -= points
            open_rows = np.setdiff1d(open_rows, np.concatenate(broken))
        return best

    def _gradient(self, iterate: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Of each point the gradient, its loss, float32 [n], and whether it is misclassified, bool
        [n]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(iterate)
            logits = self._model(iterate, training=False)
            loss = self._loss(logits, y)
        gradient = tape.gradient(
            loss, iterate, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )  # as behind a rounding
        return gradient, loss, tf.argmax(logits, axis=1) != y

    def _one_step(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        ascent = steepest(self._gradient(x, y)[0], self._threat.norm)
        return project(x + self._threat.epsilon * ascent, x, self._threat)

    def _climb_batch(
        self,
        iterate: tf.Tensor,
        direction: tf.Tensor,
        x: tf.Tensor,
        y: tf.Tensor,
        points: tf.Tensor,
        step_size: tf.Tensor,
        momentum: tf.Tensor,
        to_the_end: tf.Tensor,
    ) -> tuple[Any, ...]:
        """Judges `points` points, stepping after each; returns the point reached with its
        accumulated gradient, and of each image the first misclassified point (else the one with the
        highest loss), its loss, and whether it is wrong."""
        best, best_loss = iterate, tf.fill(tf.shape(y), -math.inf)
        wrong = tf.zeros_like(y, tf.bool)
        for _ in tf.range(points):
            gradient, loss, now_wrong = self._gradient(iterate, y)
            now_wrong &= ~to_the_end
            better = ~wrong & (now_wrong | (loss > best_loss))
            best = tf.where(better[:, None, None, None], iterate, best)
            best_loss = tf.where(better, loss, best_loss)
            wrong |= now_wrong
            if momentum > 0.0:  # gradients of one length each, so that none outweighs the others
                size = tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
                direction = momentum * direction + gradient / tf.maximum(size, 1e-12)
            else:
                direction = gradient
            iterate = project(
                iterate + step_size * steepest(direction, self._threat.norm), x, self._threat
            )
        return iterate, direction, best, best_loss, wrong


def steepest(gradient: tf.Tensor, norm: Norm) -> tf.Tensor:
    """Unit step of steepest ascent in `norm`, image by image: float32 [n, h, w, c]; 0 where it is
    not finite."""
    gradient = tf.where(tf.math.is_finite(gradient), gradient, 0.0)
    if norm is Norm.LINF:
        return tf.sign(gradient)
    length = tf.norm(tf.reshape(gradient, [tf.shape(gradient)[0], -1]), axis=1)
    return gradient / tf.maximum(length, 1e-12)[:, None, None, None]
