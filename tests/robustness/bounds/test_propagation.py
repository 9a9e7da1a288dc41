"""Intervals and lines through a network of one ReLU, by hand.

Its logits are r and -r with r = relu(x - 0.3), and x lies in [0.1, 0.9]: so the ReLU's operand lies
in [-0.2, 0.6], and the margin of the first logit is 2 r.
"""

import numpy as np
import pytest
import tensorflow as tf

from robustness.bounds.activations import Relu
from robustness.bounds.layers import Input, Lines
from robustness.bounds.linear import Dense, Shift
from robustness.bounds.moves import Reshape
from robustness.bounds.propagation import Propagation, margin

X = tf.fill([1, 1, 1, 1], 0.5)
NETWORK = Propagation(
    [
        Input(),
        Reshape("flat", [0], [1]),
        Shift("operand", [1], lambda: tf.constant([-0.3])),
        Relu("relu", [2]),
        Dense("logits", [3], lambda: tf.constant([[1.0, -1.0]]), (1, 2)),
    ],
    0.4,
)


@pytest.mark.parametrize(
    ("sign", "operand", "output"),
    [
        (0.0, (-0.2, 0.6), (0.0, 0.6)),
        (1.0, (0.0, 0.6), (0.0, 0.6)),
        (-1.0, (-0.2, 0.0), (0.0, 0.0)),
    ],
    ids=["open", "not below 0", "not above 0"],
)
def test_intervals_are_cut_by_a_sign_that_is_given(
    sign: float, operand: tuple[float, float], output: tuple[float, float]
) -> None:
    boxes = NETWORK.boxes(X, [tf.fill([1, 1], sign)])
    np.testing.assert_allclose(np.ravel(boxes[2]), operand, atol=1e-6)
    np.testing.assert_allclose(np.ravel(boxes[3]), output, atol=1e-6)
    assert NETWORK.relu_operands(boxes) == [boxes[2]]


@pytest.mark.parametrize(
    ("y", "slope", "expected"),
    [(0, 0.0, 0.0), (0, 0.5, -0.2), (0, 1.0, -0.4), (1, 0.5, -1.2), (1, 1.0, -1.2)],
)
def test_a_bound_goes_back_to_the_image_along_the_lines(
    y: int, slope: float, expected: float
) -> None:
    """2 slope (x - 0.3) from below, at x = 0.1; from above both lines reach 0.6, at x = 0.9."""
    boxes, one = NETWORK.boxes(X), tf.fill([1, 1], slope)
    a = margin(boxes, tf.constant([y], tf.int64), tf.constant([1 - y], tf.int64))
    bound, (coefficients,) = NETWORK.lower_bound(boxes, a, [Lines(one, one)])
    np.testing.assert_allclose(bound, [expected], atol=1e-5)
    np.testing.assert_array_equal(coefficients, [[2.0 if y == 0 else -2.0]])


@pytest.mark.parametrize(("multiplier", "expected"), [(0.0, -0.4), (1.0, -0.2), (2.0, 0.0)])
def test_a_multiplier_wins_back_what_its_sign_excludes(multiplier: float, expected: float) -> None:
    """Where x - 0.3 is taken for not negative, (2 - multiplier) (x - 0.3) lies below the margin."""
    sign = tf.ones([1, 1])
    boxes = NETWORK.boxes(X, [sign])
    a = margin(boxes, tf.constant([0], tf.int64), tf.constant([1], tf.int64))
    bound, _ = NETWORK.lower_bound(boxes, a, multipliers=[multiplier * sign])
    np.testing.assert_allclose(bound, [expected], atol=1e-5)


def test_merged_stops_at_the_intervals_of_the_relu() -> None:
    boxes = NETWORK.boxes(X)
    a = margin(boxes, tf.constant([1], tf.int64), tf.constant([0], tf.int64))
    bound, coefficients = NETWORK.lower_bound(boxes, a, merged=True)
    np.testing.assert_allclose(bound, [-1.2], atol=1e-5)
    assert coefficients == []
