"""The rules of every layer, in networks that hold them: against samples of the ball, against the
network itself where the ball is a point, and exact where everything is linear."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from bounded_networks import (
    CLASSES,
    EVERY_NETWORK,
    SHAPE,
    gradient_of_margins,
    images,
    keras,
    margins_at,
    network,
    predictions,
)

from robustness.ball import BALL_TOLERANCE
from robustness.bounds.certifier import Certifier
from robustness.config import BoundName


@pytest.mark.slow
@EVERY_NETWORK
@pytest.mark.parametrize("epsilon", [0.01, 0.2])
def test_no_point_of_the_ball_lies_below_a_bound(
    body: Callable[[tf.Tensor], tf.Tensor], epsilon: float
) -> None:
    model, x = network(body), images()
    y = predictions(model, x)
    certifier = Certifier(model, SHAPE, epsilon)
    bounds = [certifier.tighten(bound, x, y) for bound in BoundName]
    random = np.random.default_rng(2)
    lowest = np.full_like(bounds[0], np.inf)
    gradient = gradient_of_margins(model)
    for trial in range(30):
        point = x + epsilon * np.sign(random.normal(size=x.shape)) * random.choice(
            [1.0, random.uniform()]
        )
        for _ in range(4):  # a few steps down the gradient of one margin
            point = np.clip(np.clip(point, x - epsilon, x + epsilon), 0, 1).astype(np.float32)
            lowest = np.minimum(lowest, margins_at(model, point, y))
            point = point - epsilon / 2 * np.sign(
                gradient(point, y, (y + 1 + trial % (CLASSES - 1)) % CLASSES)
            )
    for bound in bounds:
        assert np.all(bound <= lowest)
        assert np.isinf(bound[np.arange(len(y)), y]).all()


@pytest.mark.slow
@EVERY_NETWORK
def test_without_a_ball_a_bound_is_the_margin(body: Callable[[tf.Tensor], tf.Tensor]) -> None:
    """Catches a wrong transpose, a forgotten bias, a wrong padding: all that sampling might miss on
    the loose side."""
    model, x = network(body), images()
    y = predictions(model, x)
    exact = margins_at(model, x, y)
    others = np.isfinite(exact)
    certifier = Certifier(model, SHAPE, 0.0)
    repeated, other = np.nonzero(others)
    crown = certifier.crown_margins(x[repeated], y[repeated], other)
    for bounds in (certifier.tighten(BoundName.IBP, x, y)[others], crown):
        assert np.all(bounds <= exact[others])
        np.testing.assert_allclose(bounds, exact[others], atol=3e-2)


def test_linear_networks_are_exact() -> None:
    """Convolution, pooling, normalisation and dense layers without a ReLU: epsilon times the 1-norm
    of the gradient."""
    tf_keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    x = keras.BatchNormalization()(keras.Conv2D(3, 3, strides=2, padding="same")(image))
    x = keras.Flatten()(keras.AveragePooling2D(2)(x))
    model = tf_keras.Model(image, keras.Dense(CLASSES)(x))
    x = 0.3 + 0.4 * images()  # far from 0 and 1
    y, epsilon = predictions(model, x), 0.1
    other = (y + 1) % CLASSES
    slope = np.abs(gradient_of_margins(model)(x, y, other)).reshape(len(x), -1).sum(axis=1)
    exact = (
        margins_at(model, x, y)[np.arange(len(y)), other] - (epsilon + 2 * BALL_TOLERANCE) * slope
    )
    certifier = Certifier(model, SHAPE, epsilon)
    interval = certifier.tighten(BoundName.IBP, x, y)[
        np.arange(len(y)), other
    ]  # merged: there is no ReLU to stop at
    for bounds in (
        interval,
        certifier.crown_margins(x, y, other),
        certifier.alpha_crown_margins(x, y, other),
    ):
        np.testing.assert_allclose(bounds, exact, atol=1e-4)
