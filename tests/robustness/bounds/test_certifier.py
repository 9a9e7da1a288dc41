"""The bounds of whole networks, in their order: below the exact minimum of tiny networks, each
tighter than the cheaper one, and the same whatever the batches."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from bounded_networks import (
    CLASSES,
    SHAPE,
    TINY,
    dense,
    images,
    max_pooling,
    network,
    predictions,
    tiny_network,
)
from scipy.optimize import linprog

from foundation.errors import ConfigError, DataError
from robustness.ball import BALL_TOLERANCE
from robustness.bounds.certifier import Certifier, proven
from robustness.bounds.trace import NoBoundError
from robustness.config import BoundName


def exact_minimum(
    weights: list[np.ndarray], x: np.ndarray, y: int, other: int, epsilon: float
) -> float:
    """Of logit y - logit other over the ball: one linear programme for each pattern of active
    ReLUs."""
    w, b, v, c = (array.astype(np.float64) for array in weights)
    flat, lowest = x.ravel().astype(np.float64), np.inf
    box = list(zip(np.maximum(flat - epsilon, 0), np.minimum(flat + epsilon, 1), strict=True))
    direction, constant = v[:, y] - v[:, other], c[y] - c[other]
    for pattern in itertools.product([0.0, 1.0], repeat=len(b)):
        active = np.asarray(pattern)
        sign = 1 - 2 * active  # the pre-activation is >= 0 where active, <= 0 elsewhere
        objective = w @ (active * direction)
        solved = linprog(objective, A_ub=(w * sign).T, b_ub=-b * sign, bounds=box)
        if solved.status == 0:
            lowest = min(lowest, solved.fun + b @ (active * direction) + constant)
    return lowest


@pytest.mark.parametrize("seed", range(4))
def test_bounds_stay_below_the_exact_minimum_in_their_order(seed: int) -> None:
    model, weights = tiny_network(seed)
    x = np.random.default_rng(seed).uniform(size=(3, *TINY)).astype(np.float32)
    y, epsilon = predictions(model, x), 0.15
    other = (y + 1) % 3
    exact = [
        exact_minimum(weights, *one, epsilon + 2 * BALL_TOLERANCE)
        for one in zip(x, y, other, strict=True)
    ]
    certifier = Certifier(model, TINY, epsilon)
    rows = np.arange(3)
    ibp = certifier.tighten(BoundName.IBP, x, y)[rows, other]
    crown = certifier.crown_margins(x, y, other)
    alpha = certifier.alpha_crown_margins(x, y, other)
    assert np.all(ibp <= exact)
    assert np.all(crown <= exact)
    assert np.all(alpha <= exact)
    assert np.all(alpha >= crown)
    assert np.all(alpha >= ibp - 1e-5)
    np.testing.assert_allclose(alpha, exact, atol=0.8 * np.max(exact - ibp) + 1e-4)


@pytest.mark.slow
def test_each_bound_is_tighter_than_the_cheaper_one_in_sum() -> None:
    gained = np.zeros(3)
    for seed in range(6):
        model, _ = tiny_network(seed)
        x = np.random.default_rng(seed).uniform(size=(40, *TINY)).astype(np.float32)
        y = predictions(model, x)
        certifier, other = Certifier(model, TINY, 0.15), (y + 1) % 3
        gained[0] += certifier.tighten(BoundName.IBP, x, y)[np.arange(40), other].sum()
        gained[1] += certifier.crown_margins(x, y, other).sum()
        gained[2] += certifier.alpha_crown_margins(x, y, other).sum()
    assert gained[0] < gained[1] < gained[2], (
        "alpha-CROWN optimises nothing, or CROWN is no better than intervals"
    )


def test_weights_that_are_not_numbers_prove_nothing() -> None:
    model, x = network(dense), images()
    model.layers[-1].kernel.assign(tf.fill(model.layers[-1].kernel.shape, np.nan))
    assert not proven(
        Certifier(model, SHAPE, 0.0).tighten(BoundName.ALPHA_CROWN, x, np.zeros(len(x), np.int64))
    ).any()


def test_nothing_is_certified_on_a_gpu_in_tensor_float_32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    with pytest.raises(NoBoundError, match="TensorFloat-32 is on"):
        Certifier(network(dense), SHAPE, 0.1)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        Certifier(network(dense), SHAPE, 0.1)
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


def test_results_do_not_depend_on_the_batch_size() -> None:
    model, x = network(max_pooling), images()
    y = predictions(model, x)
    certifier = Certifier(model, SHAPE, 0.02)
    whole = certifier.tighten(BoundName.ALPHA_CROWN, x, y)
    parts = [
        certifier.tighten(BoundName.ALPHA_CROWN, x[i : i + 5], y[i : i + 5])
        for i in range(0, len(x), 5)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (255 * images(2), np.zeros(2, np.int64), r"pixels in \[0, 1\], got 0 to 255; divide bytes"),
        (images(2)[0], np.zeros(2, np.int64), r"images float32 \[n, h, w, c\]"),
        (images(2), np.full(2, CLASSES), "labels from 0 to below the 4 classes, got 4 to 4"),
    ],
    ids=["bytes", "no batch", "no such class"],
)
def test_what_no_bound_can_be_computed_for_is_refused(
    certifier: Certifier, x: np.ndarray, y: np.ndarray, message: str
) -> None:
    """Outside [0, 1] the cut ball is empty, and everything would be proven of it."""
    with pytest.raises(DataError, match=message):
        certifier.tighten(BoundName.IBP, x, y)


@pytest.fixture(scope="module")
def certifier() -> Certifier:
    return Certifier(network(dense), SHAPE, 0.1)


@pytest.mark.parametrize("epsilon", [-0.5, float("nan"), float("inf")])
def test_a_radius_that_is_none_is_refused(epsilon: float) -> None:
    """In a ball of negative radius everything would be proven."""
    with pytest.raises(ConfigError, match="epsilon is a finite number >= 0"):
        Certifier(lambda x, training=False: tf.reshape(x, [-1, 4]), (2, 2, 1), epsilon)
