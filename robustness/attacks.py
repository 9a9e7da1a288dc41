"""Gradient attacks: FGSM and PGD with restarts.

An attack's result depends on nothing but model, batch, threat model, parameters and seed. The model maps
float32 [n, h, w, c] in [0, 1] to logits float32 [n, k] and is called with `training=False`; labels
serve the loss only. The caller verifies the ball (`robustness.ball.inside_ball`).
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from robustness.ball import project, random_start
from robustness.config import AttackName, AttackParameters, Norm, ThreatModel

Model = Callable[..., tf.Tensor]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

POINTS_BETWEEN_COMPACTIONS = 5
"""PGD drops misclassified images after judging so many points: they need no more work."""


def image_seeds(ids: Sequence[bytes], seed: int) -> IntArray:
    """One stateless seed an image, from its id: int64 [n, 2], the same wherever it is attacked."""
    hashes = [int.from_bytes(hashlib.sha256(i).digest()[:7], "big") for i in ids]
    return np.stack([np.full(len(hashes), seed), np.asarray(hashes, np.int64)], axis=1).astype(np.int64)


class Attacker:
    """The attacks on one model in one threat model, with the gradient steps compiled once."""

    def __init__(self, model: Model, threat: ThreatModel) -> None:
        self._model = model
        self._threat = threat
        images = tf.TensorSpec([None, None, None, None], tf.float32)
        labels = tf.TensorSpec([None], tf.int64)
        number = tf.TensorSpec([], tf.float32)
        self._predict = tf.function(self._predict_batch, input_signature=[images])
        self._step = tf.function(self._gradient_step, input_signature=[images, images, labels, number])
        self._start = tf.function(
            lambda x, seeds: random_start(x, seeds, threat),
            input_signature=[images, tf.TensorSpec([None, 2], tf.int64)],
        )
        self._climb = tf.function(
            self._climb_batch, input_signature=[images, images, labels, tf.TensorSpec([], tf.int32), number]
        )

    def predict(self, x: FloatArray) -> IntArray:
        """Predicted class: float32 [n, h, w, c] -> int64 [n]."""
        return np.asarray(self._predict(x))

    def run(
        self, name: AttackName, x: FloatArray, y: IntArray, seeds: IntArray, parameters: AttackParameters
    ) -> FloatArray:
        """The named attack; arguments and result as in `pgd`."""
        match name:
            case AttackName.FGSM:
                return self.fgsm(x, y)
            case AttackName.PGD:
                return self.pgd(x, y, seeds, parameters)
            case never:
                assert_never(never)

    def fgsm(self, x: FloatArray, y: IntArray) -> FloatArray:
        """One full step along the sign of the gradient (Goodfellow et al. 2015); L2: along the gradient.

        Args and result as in `pgd`, without randomness.
        """
        return np.asarray(self._step(x, x, y, self._threat.epsilon)[0])

    def pgd(self, x: FloatArray, y: IntArray, seeds: IntArray, parameters: AttackParameters) -> FloatArray:
        """Projected gradient ascent on the cross-entropy of the logits (Madry et al. 2018).

        Deviations: every restart starts at random, and an image that is misclassified is done. Of an
        image that no restart breaks, the iterate with the highest loss is kept.

        Args:
            x: float32 [n, h, w, c] in [0, 1].
            y: int64 [n], true labels.
            seeds: int64 [n, 2] from `image_seeds`.
            parameters: steps, restarts, step size.

        Returns:
            float32 [n, h, w, c], inside the ball and [0, 1].
        """
        step_size = parameters.resolved_step_size(self._threat)
        best, best_loss = x.copy(), np.full(len(x), -np.inf, np.float32)
        open_rows = np.arange(len(x))
        for restart in range(parameters.restarts):
            if not len(open_rows):
                break
            rows = open_rows
            restart_seeds = seeds[rows] + np.asarray([restart * 1_000_003, 0])
            iterate = np.asarray(self._start(x[rows], restart_seeds))
            points_left = parameters.steps + 1  # the start and the point after each step
            broken: list[IntArray] = []
            while points_left and len(rows):
                points = min(POINTS_BETWEEN_COMPACTIONS, points_left)
                iterate, candidate, loss, wrong = (
                    np.asarray(t) for t in self._climb(iterate, x[rows], y[rows], points, step_size)
                )
                better = wrong | (loss > best_loss[rows])
                best[rows[better]], best_loss[rows[better]] = candidate[better], loss[better]
                broken.append(rows[wrong])
                rows, iterate = rows[~wrong], iterate[~wrong]
                points_left -= points
            open_rows = np.setdiff1d(open_rows, np.concatenate(broken))
        return best

    def _predict_batch(self, x: tf.Tensor) -> tf.Tensor:
        return tf.argmax(self._model(x, training=False), axis=1)

    def _gradient_step(self, iterate: tf.Tensor, x: tf.Tensor, y: tf.Tensor, step_size: tf.Tensor) -> tuple[Any, ...]:
        """The next point, and of the present one its loss, float32 [n], and whether it is misclassified, bool [n]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(iterate)
            logits = self._model(iterate, training=False)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        ascent = steepest(tape.gradient(loss, iterate), self._threat.norm)
        return project(iterate + step_size * ascent, x, self._threat), loss, tf.argmax(logits, axis=1) != y

    def _climb_batch(
        self, iterate: tf.Tensor, x: tf.Tensor, y: tf.Tensor, points: tf.Tensor, step_size: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Judges `points` points, stepping after each; returns the point reached, and of each image the
        first misclassified point (else the one with the highest loss), its loss, and whether it is wrong."""
        best, best_loss = iterate, tf.fill(tf.shape(y), -math.inf)
        wrong = tf.zeros_like(y, tf.bool)
        for _ in tf.range(points):
            ahead, loss, now_wrong = self._gradient_step(iterate, x, y, step_size)
            better = ~wrong & (now_wrong | (loss > best_loss))
            best = tf.where(better[:, None, None, None], iterate, best)
            best_loss = tf.where(better, loss, best_loss)
            wrong |= now_wrong
            iterate = ahead
        return iterate, best, best_loss, wrong


def steepest(gradient: tf.Tensor, norm: Norm) -> tf.Tensor:
    """Unit step of steepest ascent in `norm`, image by image: float32 [n, h, w, c]."""
    if norm is Norm.LINF:
        return tf.sign(gradient)
    length = tf.norm(tf.reshape(gradient, [tf.shape(gradient)[0], -1]), axis=1)
    return gradient / tf.maximum(length, 1e-12)[:, None, None, None]


def describe(name: AttackName, threat: ThreatModel, parameters: AttackParameters) -> dict[str, Any]:
    """What to record beside every attacked image: steps, restarts and step size actually used."""
    if name is AttackName.FGSM:
        return {"steps": 1, "restarts": 1, "step_size": threat.epsilon}
    return {
        "steps": parameters.steps,
        "restarts": parameters.restarts,
        "step_size": parameters.resolved_step_size(threat),
    }
