"""FGSM and PGD: their steps, against the papers' in NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from attacked import (
    BOTH_NORMS,
    LINF,
    LOSSES,
    PGD,
    ascent,
    attacker,
    batch,
    loss_and_gradient,
    nearest,
    small,
    survivors,
)

from robustness.ball import random_start
from robustness.config import AttackName, Fgsm, ThreatModel
from robustness.losses import cross_entropy


@BOTH_NORMS
def test_fgsm_is_one_full_step_along_the_gradient(threat: ThreatModel) -> None:
    x, y, seeds = batch()
    _, gradient = loss_and_gradient(cross_entropy, x, y)
    expected = nearest(x + threat.epsilon * ascent(gradient, threat.norm), x, threat)
    x_adv = attacker(threat)[0].run(Fgsm(), x, y, seeds)
    np.testing.assert_allclose(x_adv, expected, atol=1e-6)


@BOTH_NORMS
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", PGD)
def test_pgd_goes_where_its_papers_say(
    name: AttackName, momentum: float, threat: ThreatModel
) -> None:
    """Madry et al. 2018; with momentum Dong et al. 2018, algorithm 1."""
    attack = small(name, steps=12, restarts=1, momentum=momentum)
    x, y, seeds = survivors(attack, threat)
    attacks, model = attacker(threat)
    points, accumulated = (
        [random_start(tf.constant(x), tf.constant(seeds), threat).numpy()],
        np.zeros_like(x),
    )
    for _ in range(attack.steps):
        _, gradient = loss_and_gradient(LOSSES[name], points[-1], y)
        accumulated = momentum * accumulated + gradient / np.abs(gradient).sum(
            axis=(1, 2, 3), keepdims=True
        )
        step = 2.5 * threat.epsilon / attack.steps * ascent(accumulated, threat.norm)
        points.append(nearest(points[-1] + step, x, threat).astype(np.float32))
    model.asked.clear()
    attacks.run(attack, x, y, seeds)
    np.testing.assert_allclose(np.stack(model.asked), np.stack(points), atol=1e-5)


def test_pgd_breaks_at_least_what_fgsm_breaks_in_sum() -> None:
    x, y, seeds = batch(200)
    attacks, _ = attacker(LINF)
    one_step, iterated = (
        np.mean(attacks.predict(attacks.run(small(name, steps=20), x, y, seeds)) == y)
        for name in (AttackName.FGSM, AttackName.PGD)
    )
    assert 0.0 < iterated <= one_step < 1.0
