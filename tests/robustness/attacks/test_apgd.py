"""Auto-PGD: its schedule and its steps, against the paper's in NumPy."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf
from attacked import (
    BOTH_NORMS,
    LINF,
    SHAPE,
    CurvedModel,
    ascent,
    attacker,
    loss_and_gradient,
    nearest,
    small,
    survivors,
)

from robustness.attacks.apgd import CompiledApgd, State, schedule
from robustness.ball import random_start
from robustness.config import AttackName, ThreatModel
from robustness.losses import cross_entropy, targeted_dlr
from robustness.types import FloatArray, IntArray


def published_checkpoints() -> list[int]:
    """Iterations of 100 after which the step is checked: p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03,
    0.06), as whole per cents."""
    checkpoints = [0, 22]
    while (following := checkpoints[-1] + max(checkpoints[-1] - checkpoints[-2] - 3, 6)) <= 100:
        checkpoints.append(following)
    return checkpoints[1:]


def test_auto_pgd_checks_its_step_where_the_paper_does() -> None:
    segments = list(schedule(100))
    ends = list(itertools.accumulate(segment.iterations for segment in segments))
    assert published_checkpoints() == [22, 41, 57, 70, 80, 87, 93, 99]
    assert [
        end for end, segment in zip(ends, segments, strict=True) if segment.check
    ] == published_checkpoints()
    windows = [segment.window for segment in segments if segment.check]
    assert windows == np.diff([0, *published_checkpoints()]).tolist()
    assert ends[-1] == 100


@pytest.mark.parametrize("steps", [1, 2, 5, 16, 50, 333])
def test_auto_pgd_makes_every_step(steps: int) -> None:
    assert sum(segment.iterations for segment in schedule(steps)) == steps


def auto_pgd_by_hand(
    x: FloatArray, y: IntArray, start: FloatArray, threat: ThreatModel
) -> Iterator[FloatArray]:
    """The points of one image, [1, h, w, c] each: Croce & Hein 2020, algorithm 1, with 100
    iterations."""
    (loss,), gradient = loss_and_gradient(cross_entropy, start, y)
    yield start
    previous = point = best = start
    best_loss, best_gradient = loss, gradient
    checked_loss, halved, rises, last_check, step = loss, True, 0, 0, 2 * threat.epsilon
    for k in range(100):
        ahead = nearest(point + step * ascent(gradient, threat.norm), x, threat)
        if k > 0:
            ahead = nearest(point + 0.75 * (ahead - point) + 0.25 * (point - previous), x, threat)
        previous, point, previous_loss = point, ahead.astype(np.float32), loss
        (loss,), gradient = loss_and_gradient(cross_entropy, point, y)
        yield point
        rises += loss > previous_loss
        if loss > best_loss:
            best, best_loss, best_gradient = point, loss, gradient
        if k + 1 in published_checkpoints():
            stands = not halved and checked_loss >= best_loss
            halved = bool(rises <= 0.75 * (k + 1 - last_check)) or stands
            if halved:
                step, point, gradient = step / 2, best, best_gradient
            checked_loss, rises, last_check = best_loss, 0, k + 1


@BOTH_NORMS
def test_auto_pgd_goes_where_its_paper_says(threat: ThreatModel) -> None:
    attack = small(AttackName.APGD_CE, steps=100, restarts=1)
    x, y, seeds = (array[:6] for array in survivors(attack, threat))
    attacks, model = attacker(threat)
    start = random_start(tf.constant(x), tf.constant(seeds), threat, on_surface=True).numpy()
    model.asked.clear()
    attacks.run(attack, x, y, seeds)
    for i, found in enumerate(np.stack(model.asked, axis=1)):
        one = slice(i, i + 1)
        expected = np.concatenate(list(auto_pgd_by_hand(x[one], y[one], start[one], threat)))
        np.testing.assert_allclose(found[:81], expected[:81], atol=1e-4)
        # The last steps change the loss by less than float32 resolves, so what counts as a rise,
        # and with it when the step is halved, is chance and depends on the processor.
        np.testing.assert_allclose(found[81:], expected[81:], atol=0.1 * threat.epsilon)
        assert np.mean(np.abs(found[81:] - expected[81:]) <= 0.02 * threat.epsilon) > 0.99


def test_auto_pgd_halves_its_step_where_the_ascent_stalls_or_stands() -> None:
    """The paper's two conditions, after a window of four moves; halving goes back to the best
    point."""
    cases = {  # rises, loss at the last check, halved there, whether to halve
        "too few rises": (3, 0.0, False, True),
        "rises, but none above the best": (4, 1.0, False, True),
        "the same after halving": (4, 1.0, True, False),
        "rises above the best": (4, 0.9, False, False),
    }
    rises, checked, halved, expected = (
        np.asarray(column) for column in zip(*cases.values(), strict=True)
    )
    images, flags = np.zeros((4, *SHAPE), np.float32), np.zeros(4, bool)
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    state = State(
        iterate=images,
        previous=images,
        gradient=images,
        loss=zeros,
        best=images + 1,
        best_gradient=images + 2,
        best_loss=ones,
        wrong=flags,
        step=ones,
        rises=rises.astype(np.float32),
        checked_loss=checked.astype(np.float32),
        halved=halved,
        first=flags,
    )
    found = CompiledApgd(CurvedModel(), LINF, targeted_dlr)._checked(state, tf.constant(4))
    np.testing.assert_array_equal(found.halved, expected)
    np.testing.assert_array_equal(found.step, np.where(expected, 0.5, 1.0))
    np.testing.assert_array_equal(found.iterate[:, 0, 0, 0], expected)
    np.testing.assert_array_equal(found.gradient[:, 0, 0, 0], 2 * expected)
    np.testing.assert_array_equal(found.checked_loss, 1.0)
    np.testing.assert_array_equal(found.rises, 0.0)
