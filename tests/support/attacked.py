"""Small models to attack, with images, and the steps of attacks in NumPy.

The attackers are shared by all test files, because each attack is compiled when it is first used.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from foundation.seeds import image_seeds
from robustness.attacks.attacker import Attacker
from robustness.config import (
    ApgdCe,
    ApgdT,
    Attack,
    AttackName,
    FabT,
    Fgsm,
    Norm,
    Pgd,
    PgdDlr,
    PgdMargin,
    Square,
    ThreatModel,
)
from robustness.losses import cross_entropy, dlr, margin
from robustness.types import FloatArray, IntArray

SHAPE = (6, 5, 1)
CLASSES = 3
PIXELS = int(np.prod(SHAPE))
LINF, L2 = ThreatModel(norm=Norm.LINF, epsilon=0.04), ThreatModel(norm=Norm.L2, epsilon=0.2)
"""Radii that break some images and leave others."""

PGD = (AttackName.PGD, AttackName.PGD_MARGIN, AttackName.PGD_DLR)
APGD = (AttackName.APGD_CE, AttackName.APGD_T)
LOSSES = {
    AttackName.FGSM: cross_entropy,
    AttackName.PGD: cross_entropy,
    AttackName.PGD_MARGIN: margin,
    AttackName.PGD_DLR: dlr,
    AttackName.APGD_CE: cross_entropy,
}

BOTH_NORMS = pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: str(threat.norm))

KINDS: dict[AttackName, type[Attack]] = {
    kind.name: kind for kind in (Fgsm, Pgd, PgdMargin, PgdDlr, ApgdCe, ApgdT, FabT, Square)
}


class LinearModel:
    """logits = x w; `trainings` has the `training` argument of each trace, `asked` each batch it
    was called with."""

    def __init__(self, classes: int = CLASSES) -> None:
        self.w = np.random.default_rng(0).normal(size=(PIXELS, classes)).astype(np.float32)
        self.trainings: list[bool] = []
        self.asked: list[FloatArray] = []

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        self.trainings.append(training)
        tf.numpy_function(lambda images: self.asked.append(images.copy()), [x], [])
        return tf.reshape(x, [-1, PIXELS]) @ self.w


class CurvedModel(LinearModel):
    """A small network with a hidden layer, so that gradients change with the point."""

    def __init__(self) -> None:
        super().__init__(classes=16)
        self.out = np.random.default_rng(1).normal(size=(16, CLASSES)).astype(np.float32)

    def __call__(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.tanh(super().__call__(x, training)) @ self.out


@functools.cache
def attacker(threat: ThreatModel) -> tuple[Attacker, CurvedModel]:
    """One for all tests, because each attack is compiled when it is first used."""
    model = CurvedModel()
    return Attacker(model, threat), model


def small(name: AttackName, steps: int = 7, restarts: int = 2, **effort: float) -> Attack:
    """More steps than are made between two compactions, in two restarts; of the effort what the
    attack has."""
    effort |= {"steps": steps, "queries": steps, "restarts": restarts}
    own = [field.name for field in dataclasses.fields(KINDS[name])]
    return KINDS[name](**{setting: effort[setting] for setting in own if setting in effort})


def batch(n: int = 24) -> tuple[FloatArray, IntArray, IntArray]:
    """Images, the first two black and white, labels that the curved model gets right, and seeds."""
    x = np.random.default_rng(7).uniform(size=(n, *SHAPE)).astype(np.float32)
    x[0], x[1] = 0.0, 1.0  # corners, where clipping matters
    return (
        x,
        np.argmax(CurvedModel()(x, training=False), axis=1),
        image_seeds([b"%d" % i for i in range(n)], 3),
    )


def sizes(delta: FloatArray, norm: Norm) -> FloatArray:
    flat = np.abs(delta).reshape(len(delta), -1).astype(np.float64)
    return np.asarray(flat.max(axis=1) if norm is Norm.LINF else np.sqrt((flat**2).sum(axis=1)))


def nearest(point: FloatArray, x: FloatArray, threat: ThreatModel) -> FloatArray:
    """Projection in NumPy: L-infinity in closed form; L2 onto [0, 1], then onto the ball."""
    if threat.norm is Norm.LINF:
        return np.clip(point, np.maximum(x - threat.epsilon, 0), np.minimum(x + threat.epsilon, 1))
    delta = np.clip(point, 0, 1) - x
    shrink = np.minimum(1.0, threat.epsilon / np.maximum(sizes(delta, threat.norm), 1e-12))
    return np.clip(x + delta * shrink[:, None, None, None], 0, 1)


def ascent(gradient: FloatArray, norm: Norm) -> FloatArray:
    """Step of norm 1 that climbs fastest, in NumPy."""
    if norm is Norm.LINF:
        return np.sign(gradient)
    return gradient / sizes(gradient, norm)[:, None, None, None]


@functools.cache
def differentiated(loss: Callable[..., tf.Tensor]) -> Callable[..., tuple[tf.Tensor, tf.Tensor]]:
    """Images and labels to the curved model's loss and its gradient."""
    model = CurvedModel()

    @tf.function(
        input_signature=[tf.TensorSpec([None, *SHAPE], tf.float32), tf.TensorSpec([None], tf.int64)]
    )
    def loss_and_gradient(x: tf.Tensor, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(model(x, training=False), y)
        return value, tape.gradient(value, x)

    return loss_and_gradient


def loss_and_gradient(
    loss: Callable[..., tf.Tensor], x: FloatArray, y: IntArray
) -> tuple[FloatArray, FloatArray]:
    value, gradient = differentiated(loss)(x, y)
    return value.numpy(), gradient.numpy()


def survivors(attack: Attack, threat: ThreatModel) -> tuple[FloatArray, IntArray, IntArray]:
    """Images that the attack does not break, so that all their points can be followed."""
    x, y, seeds = batch()
    kept = attacker(threat)[0].predict(attacker(threat)[0].run(attack, x, y, seeds)) == y
    assert np.sum(kept) >= 5
    return x[kept], y[kept], seeds[kept]
