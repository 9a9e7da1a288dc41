"""FGSM, and projected gradient ascent with restarts, momentum and a choice of loss.

Knows one model, one threat model and one loss; ids, files and other attacks are not its business.
"""

import math

import numpy as np
import tensorflow as tf

from foundation.seeds import Seeds, restart_seeds
from robustness.ascent import slope, steepest
from robustness.ball import project, random_start
from robustness.config import Pgd, ThreatModel
from robustness.inputs import image_spec
from robustness.losses import Loss
from robustness.types import (
    FlagsTensor,
    Images,
    ImagesTensor,
    IntArray,
    Labels,
    LabelsTensor,
    Model,
    NumbersTensor,
)

POINTS_BETWEEN_COMPACTIONS = 5
"""Misclassified images are dropped after so many points have been tried: they need no more work."""


class CompiledPgd:
    """PGD on one model, its gradient steps compiled once for all batch sizes."""

    def __init__(self, model: Model, threat: ThreatModel, loss: Loss) -> None:
        self._model, self._threat, self._loss = model, threat, loss
        images = image_spec(model)
        labels = tf.TensorSpec([None], tf.int64)
        seeds = tf.TensorSpec([None, 2], tf.int64)
        number, count = tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int32)
        flag = tf.TensorSpec([], tf.bool)
        self._step = tf.function(self._fgsm_batch, input_signature=[images, labels])
        self._start = tf.function(
            lambda x, seeds: random_start(x, seeds, threat), input_signature=[images, seeds]
        )
        self._climb = tf.function(
            self._climb_batch,
            input_signature=[images, images, images, labels, count, number, number, flag],
        )

    def fgsm(self, x: Images, y: Labels) -> Images:
        """One full step along the sign of the gradient (Goodfellow et al. 2015); L2: along the
        gradient.

        Args and result as in `run`, without randomness.
        """
        return np.asarray(self._step(x, y))

    def run(
        self, x: Images, y: Labels, seeds: Seeds, attack: Pgd, to_the_end: bool = False
    ) -> Images:
        """Projected gradient ascent (Madry et al. 2018), with accumulated gradients when `momentum`
        > 0 (Dong et al. 2018).

        Deviations: every restart starts at random, and an image that is misclassified is done. Of
        an image that no restart breaks, the iterate with the highest loss is kept.

        Args:
            x: images in [0, 1].
            y: true labels.
            seeds: what the starts are drawn from.
            attack: the effort.
            to_the_end: whether to climb on from misclassified points and return the point with the
                highest loss, as is needed of images that shall fool another model.

        Returns:
            images inside the ball and [0, 1].
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
                effort = (points, step_size, attack.momentum, to_the_end)
                climbed = self._climb(iterate, direction, x[rows], y[rows], *effort)
                iterate, direction, candidate, loss, wrong = (np.asarray(t) for t in climbed)
                better = wrong | (loss > best_loss[rows])
                best[rows[better]], best_loss[rows[better]] = candidate[better], loss[better]
                broken.append(rows[wrong])
                rows, iterate, direction = rows[~wrong], iterate[~wrong], direction[~wrong]
                points_left -= points
            open_rows = np.setdiff1d(open_rows, np.concatenate(broken))
        return best

    def _fgsm_batch(self, x: ImagesTensor, y: LabelsTensor) -> ImagesTensor:
        gradient = slope(self._model, x, lambda logits: self._loss(logits, y)).gradient
        return project(
            x + self._threat.epsilon * steepest(gradient, self._threat.norm), x, self._threat
        )

    def _climb_batch(
        self,
        iterate: ImagesTensor,
        direction: ImagesTensor,
        x: ImagesTensor,
        y: LabelsTensor,
        points: tf.Tensor,
        step_size: tf.Tensor,
        momentum: tf.Tensor,
        to_the_end: tf.Tensor,
    ) -> tuple[ImagesTensor, ImagesTensor, ImagesTensor, NumbersTensor, FlagsTensor]:
        """Tries `points` points, stepping after each; returns the point reached with its
        accumulated gradient, and of each image the first misclassified point (otherwise the one
        with the highest loss), its loss, and whether it is wrong."""
        best, best_loss = iterate, tf.fill(tf.shape(y), -math.inf)
        wrong = tf.zeros_like(y, tf.bool)
        for _ in tf.range(points):
            gradient, loss, logits = slope(
                self._model, iterate, lambda logits: self._loss(logits, y)
            )
            now_wrong = (tf.argmax(logits, axis=1) != y) & ~to_the_end
            better = ~wrong & (now_wrong | (loss > best_loss))
            best = tf.where(better[:, None, None, None], iterate, best)
            best_loss = tf.where(better, loss, best_loss)
            wrong |= now_wrong
            if momentum > 0.0:  # gradients of one length each, so that none outweighs the others
                size = tf.reduce_sum(tf.abs(gradient), axis=[1, 2, 3], keepdims=True)
                direction = momentum * direction + gradient / tf.maximum(size, 1e-12)
            else:
                direction = gradient
            step = step_size * steepest(direction, self._threat.norm)
            iterate = project(iterate + step, x, self._threat)
        return iterate, direction, best, best_loss, wrong
