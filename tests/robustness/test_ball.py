"""The ball that all attacks share: projection, random starts, and the check of what was attacked;
seeds of images."""

import numpy as np
import pytest
import tensorflow as tf

from foundation.seeds import image_seeds, restart_seeds
from robustness.ball import image_norm, inside_ball, project, random_start
from robustness.config import Norm, ThreatModel
from robustness.types import FloatArray

SHAPE = (6, 5, 1)
THREATS = [
    ThreatModel(epsilon=0.04),
    ThreatModel(epsilon=0.3),
    ThreatModel(norm=Norm.L2, epsilon=0.7),
]
EVERY_THREAT = pytest.mark.parametrize(
    "threat", THREATS, ids=lambda threat: f"{threat.norm}-{threat.epsilon}"
)


def images(n: int = 24) -> FloatArray:
    """The first two are black and white: corners, where clipping matters."""
    x = np.random.default_rng(7).uniform(size=(n, *SHAPE)).astype(np.float32)
    x[0], x[1] = 0.0, 1.0
    return x


def sizes(delta: FloatArray, norm: Norm) -> FloatArray:
    flat = np.abs(delta).reshape(len(delta), -1).astype(np.float64)
    return np.asarray(flat.max(axis=1) if norm is Norm.LINF else np.sqrt((flat**2).sum(axis=1)))


@EVERY_THREAT
def test_projection_ends_in_the_ball_and_on_its_surface(threat: ThreatModel) -> None:
    x = images()
    far = x + np.random.default_rng(0).normal(size=x.shape).astype(np.float32)
    original = tf.constant(x)
    nearest = project(tf.constant(far), original, threat)
    near = nearest.numpy()
    assert np.all(inside_ball(nearest, original, threat).numpy())
    np.testing.assert_allclose(project(nearest, original, threat).numpy(), near, atol=1e-6)
    if threat.norm is Norm.LINF:  # closed form of the nearest point of a box
        low, high = np.maximum(x - threat.epsilon, 0), np.minimum(x + threat.epsilon, 1)
        np.testing.assert_allclose(near, np.clip(far, low, high), atol=1e-6)
    else:  # at the corners, too, the whole radius is used: pixels that cannot move cost nothing
        np.testing.assert_allclose(sizes(near - x, Norm.L2), threat.epsilon, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "inside"),
    [(0.0999, True), (0.1 + 5e-7, True), (0.1001, False), (float("nan"), False)],
    ids=["inside", "rounding", "outside", "nan"],
)
def test_ball_check(change: float, inside: bool) -> None:
    x = np.full((1, *SHAPE), 0.5, np.float32)
    x_adv = x.copy()
    x_adv[0, 2, 2, 0] += change
    found = inside_ball(tf.constant(x_adv), tf.constant(x), ThreatModel(epsilon=0.1))
    assert bool(found[0]) is inside


def test_ball_check_sees_pixels_outside_the_range() -> None:
    x = np.full((2, *SHAPE), 0.99, np.float32)
    x_adv = x.copy()
    x_adv[1] = 1.01
    found = inside_ball(tf.constant(x_adv), tf.constant(x), ThreatModel(epsilon=0.1))
    assert found.numpy().tolist() == [True, False]


def test_norms_match_numpy() -> None:
    delta = np.random.default_rng(0).normal(size=(4, *SHAPE)).astype(np.float32)
    for norm in Norm:
        np.testing.assert_allclose(
            image_norm(tf.constant(delta), norm), sizes(delta, norm), rtol=1e-6
        )


@EVERY_THREAT
@pytest.mark.parametrize("on_surface", [False, True], ids=["inside", "surface"])
def test_random_starts(threat: ThreatModel, on_surface: bool) -> None:
    """They differ by image and by restart, and fill the ball, or lie on its surface."""
    x = np.full((300, *SHAPE), 0.5, np.float32)
    seeds = image_seeds([b"%d" % i for i in range(len(x))], 0)
    start = tf.function(lambda seeds: random_start(tf.constant(x), seeds, threat, on_surface))
    first, second = (
        start(tf.constant(restart_seeds(seeds, restart))).numpy() - x for restart in (0, 1)
    )
    assert np.all(np.any(first != second, axis=(1, 2, 3)))
    assert len(np.unique(first.reshape(len(x), -1), axis=0)) == len(x)
    size = sizes(first, threat.norm) / threat.epsilon
    assert size.max() <= 1 + 1e-5
    np.testing.assert_allclose(first.mean(axis=0), 0.0, atol=0.2 * threat.epsilon)
    if on_surface:
        np.testing.assert_allclose(size, 1.0, rtol=1e-5)
    elif threat.norm is Norm.L2:
        np.testing.assert_allclose(np.histogram(size, 4, (0, 1))[0] / len(x), 0.25, atol=0.08)
    else:
        share = np.histogram(first / threat.epsilon, 4, (-1, 1))[0] / first.size
        np.testing.assert_allclose(share, 0.25, atol=0.02)


def test_seeds_come_from_ids_and_not_from_places() -> None:
    seeds = image_seeds([b"a", b"b"], 7)
    assert (seeds.shape, seeds.dtype) == ((2, 2), np.int64)
    np.testing.assert_array_equal(image_seeds([b"b", b"a"], 7), seeds[::-1])
    assert len({tuple(seed) for seed in (*seeds, *image_seeds([b"a", b"b"], 8))}) == 4
    np.testing.assert_array_equal(restart_seeds(seeds, 0), seeds)
    assert image_seeds([], 7).shape == (0, 2)
