"""Every linear layer by itself, in all the ways in which it is used: what it says of its transpose,
of |W| and of its box."""

import numpy as np
import pytest
import tensorflow as tf

from robustness.bounds.layers import Box, Linear
from robustness.bounds.linear import (
    AveragePool,
    Convolution,
    Dense,
    Depthwise,
    Mean,
    Scale,
    Total,
    TransposedConvolution,
)
from robustness.bounds.moves import (
    Bilinear,
    MirrorPad,
    Nearest,
    Pad,
    Part,
    Reshape,
    Tile,
    Transpose,
)

SHAPE = (5, 6, 4)
ONE = [1, 1, 1, 1]


def weights(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(3).normal(size=shape), tf.float32)


def convolution(shape: tuple[int, ...], *how: object) -> Convolution:
    return Convolution("", [0], lambda: weights(*shape), shape, *how)


def depthwise(shape: tuple[int, ...], *how: object) -> Depthwise:
    return Depthwise("", [0], lambda: weights(*shape), shape, *how)


def transposed(output: tuple[int, ...], *how: object) -> TransposedConvolution:
    shape = (3, 2, output[2], 4)
    return TransposedConvolution("", [0], lambda: weights(*shape), shape, output, *how)


def resized(kind: type[Nearest], output: tuple[int, int], corners: bool, half: bool) -> Nearest:
    how = {"align_corners": corners, "half_pixel_centers": half}
    return kind("", [0], SHAPE[:2], output, how)


EXPLICIT = [[0, 0], [1, 0], [2, 1], [0, 0]]
LAYERS: dict[str, Linear] = {
    "dense along the last axis": Dense("", [0], lambda: weights(4, 3), (4, 3)),
    "convolution": convolution((3, 2, 4, 3), [1, 2, 2, 1], "SAME", ONE),
    "explicit padding": convolution((3, 2, 4, 3), ONE, EXPLICIT, ONE),
    "holes": convolution((3, 2, 4, 3), ONE, "SAME", [1, 2, 3, 1]),
    "holes, explicit": convolution((2, 2, 4, 3), ONE, EXPLICIT, [1, 2, 2, 1]),
    "groups": convolution((3, 2, 2, 6), [1, 2, 2, 1], "VALID", ONE, 2),
    "groups with holes": convolution((2, 2, 1, 4), ONE, "VALID", [1, 2, 2, 1], 4),
    "depthwise": depthwise((3, 2, 4, 2), [1, 2, 2, 1], "SAME", ONE),
    "depthwise, explicit": depthwise((3, 2, 4, 1), ONE, EXPLICIT, ONE),
    "depthwise with holes": depthwise((2, 2, 4, 2), ONE, "VALID", [1, 2, 3, 1]),
    "transposed": transposed((10, 12, 3), [1, 2, 2, 1], "SAME"),
    "transposed, valid": transposed((12, 13, 3), [1, 2, 2, 1], "VALID"),
    "transposed, explicit": transposed((9, 12, 3), [1, 2, 2, 1], [[0, 0], [1, 1], [0, 0], [0, 0]]),
    "average pooling": AveragePool("", [0], [1, 3, 2, 1], [1, 2, 2, 1], "SAME"),
    "mean of rows": Mean("", [0], [1], False, 5),
    "mean of all": Mean("", [0], [1, 2, 3], True, 120),
    "sum of channels": Total("", [0], [3], False, 4),
    "sum of two axes": Total("", [0], [1, 3], True, 20),
    "factors": Scale("", [0], lambda: weights(4)),
    "reshape": Reshape("", [0], [10, 12]),
    "order": Transpose("", [0], [0, 3, 1, 2]),
    "padding": Pad("", [0], [[0, 0], [1, 2], [0, 3], [0, 1]], 0.0),
    "reflected": MirrorPad("", [0], [[0, 0], [1, 2], [3, 0], [0, 0]], "REFLECT"),
    "symmetric": MirrorPad("", [0], [[0, 0], [5, 5], [6, 6], [1, 0]], "SYMMETRIC"),
    "part": Part("", [0], [(1, 5, 2), (0, 6, 1), (1, 3, 1)]),
    "tiles": Tile("", [0], SHAPE, [2, 1, 3]),
} | {
    f"{kind.__name__.lower()} to {output}, corners {corners}, half {half}": resized(
        kind, output, corners, half
    )
    for kind in (Nearest, Bilinear)
    for output in ((10, 18), (7, 4), (1, 13), (3, 3))
    for corners, half in ((False, False), (False, True), (True, False))
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_linear_layer_is_what_it_says_of_itself(layer: Linear) -> None:
    """Against its matrix, which it gives column by column."""
    units = tf.reshape(tf.eye(120), [120, *SHAPE])
    columns = layer.apply(units, False)
    matrix = np.reshape(columns, [120, -1]).astype(np.float64)
    absolute = np.reshape(layer.apply(units, True), [120, -1])
    np.testing.assert_allclose(absolute, np.abs(matrix), atol=1e-6)
    outputs = matrix.shape[1]
    rows = tf.reshape(tf.eye(outputs), [outputs, *columns.shape[1:]])
    back = np.reshape(layer.transpose(rows, tf.zeros([outputs, *SHAPE])), [outputs, 120])
    np.testing.assert_allclose(back, matrix.T, atol=1e-6)
    assert layer.terms > 0 or set(np.unique(matrix)) <= {0.0, 1.0}
    assert layer.terms >= (np.count_nonzero(matrix, axis=0).max() if layer.terms else 0)
    assert layer.back_terms >= (np.count_nonzero(matrix, axis=1).max() if layer.terms else 0)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_transpose_has_a_gradient(layer: Linear) -> None:
    """alpha-CROWN climbs along it; the transpose of the transpose is the layer itself."""
    x = weights(2, *SHAPE)
    outputs = layer.apply(x, False)

    @tf.function
    def gradient() -> tf.Tensor:
        with tf.GradientTape() as tape:
            a = tf.zeros_like(outputs)
            tape.watch(a)
            product = tf.reduce_sum(layer.transpose(a, x) * x)
        return tape.gradient(product, a)

    np.testing.assert_allclose(gradient(), outputs, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_box_is_the_exact_one_widened_by_what_rounding_adds(layer: Linear) -> None:
    """Where values cancel, too: magnitudes from a thousandth to a thousand beside each other."""
    random = np.random.default_rng(4)
    sizes = 10 ** random.uniform(-3, 3, (3, *SHAPE))
    low = (random.normal(size=(3, *SHAPE)) * sizes).astype(np.float32)
    high = low + (random.uniform(0, 0.1, (3, *SHAPE)) * sizes).astype(np.float32)
    matrix = np.reshape(layer.apply(tf.reshape(tf.eye(120), [120, *SHAPE]), False), [120, -1])
    matrix, flat = matrix.astype(np.float64), (3, 120)
    up, down = np.maximum(matrix, 0), np.minimum(matrix, 0)
    least = low.reshape(flat) @ up + high.reshape(flat) @ down
    most = high.reshape(flat) @ up + low.reshape(flat) @ down
    box = Box(tf.constant(low), tf.constant(high))
    got = [np.reshape(end, [3, -1]) for end in layer.interval(box)]
    assert np.all(got[0] <= least + 1e-12)
    assert np.all(got[1] >= most - 1e-12)
    slack = 1e-4 * np.abs(np.stack([low, high])).max()
    np.testing.assert_allclose(got[0], least, atol=slack * np.abs(matrix).sum(axis=0).max())
    np.testing.assert_allclose(got[1], most, atol=slack * np.abs(matrix).sum(axis=0).max())
