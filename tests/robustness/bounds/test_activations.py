"""Lines and intervals around curves: they enclose the function, and what TensorFlow computes of it
in float32, wherever a box may lie; and where the best line is known, they are near it."""

from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf
from scipy.optimize import brentq
from scipy.special import erfc, expit

from robustness.bounds import curves
from robustness.bounds.activations import Smooth
from robustness.bounds.curves import Curve
from robustness.bounds.layers import Box
from robustness.bounds.rounding import UNIT

Function = Callable[[np.ndarray], np.ndarray]


def selu(x: np.ndarray) -> np.ndarray:
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return x * expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


CURVES: dict[str, tuple[Curve, Function, Callable[[tf.Tensor], tf.Tensor]]] = {
    "sigmoid": (curves.SIGMOID, expit, tf.sigmoid),
    "tanh": (curves.TANH, np.tanh, tf.tanh),
    "softsign": (curves.SOFTSIGN, lambda x: x / (1 + np.abs(x)), tf.nn.softsign),
    "softplus": (curves.SOFTPLUS, lambda x: np.logaddexp(0, x), tf.nn.softplus),
    "elu": (curves.ELU, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), tf.nn.elu),
    "selu": (curves.SELU, selu, tf.nn.selu),
    "swish": (curves.SWISH, lambda x: x * expit(x), tf.nn.silu),
    "gelu": (curves.GELU, lambda x: x * erfc(-x / np.sqrt(2)) / 2, tf.nn.gelu),
    "gelu by erf": (
        curves.GELU,
        lambda x: x * erfc(-x / np.sqrt(2)) / 2,
        lambda x: 0.5 * x * (1.0 + tf.math.erf(x / np.float32(np.sqrt(2)))),
    ),
    "gelu by tanh": (curves.GELU_TANH, gelu_tanh, lambda x: tf.nn.gelu(x, approximate=True)),
    "mish": (
        curves.MISH,
        lambda x: x * np.tanh(np.logaddexp(0, x)),
        lambda x: x * tf.tanh(tf.nn.softplus(x)),
    ),
}
EVERY_CURVE = pytest.mark.parametrize("name", CURVES)


def boxes() -> Box:
    """Points, slivers, wide ones; around 0 and every bend, saturated, and at random."""
    random = np.random.default_rng(0)
    centres = [0.0, 1e-30, 0.7517, 1.2785, 1.4142, 2.2564, 2.3994, 5.0, 9.0, 14.0, 30.0, 1e3, 1e8]
    widths = [0.0, 1e-35, 1e-8, 1e-6, 1e-3, 0.1, 1.0, 4.0, 12.0, 100.0, 1e4, 1e12, 1e30]
    shifts = [0.0, 0.03, 0.5, 0.97, 1.0]
    grid = np.stack(np.meshgrid(centres, widths, shifts), axis=-1).reshape(-1, 3)
    grid = np.concatenate([grid, grid * [-1, 1, 1]])
    low, high = grid[:, 0] - grid[:, 1] * grid[:, 2], grid[:, 0] + grid[:, 1] * (1 - grid[:, 2])
    sides = np.sort(random.normal(size=(3000, 2)) * random.choice([0.3, 2, 8, 30], (3000, 1)))
    low, high = np.concatenate([low, sides[:, 0]]), np.concatenate([high, sides[:, 1]])
    ends = (end.astype(np.float32)[:, None] for end in (low, high))
    return Box(*map(tf.constant, ends))


def samples(box: Box) -> np.ndarray:
    """Numbers in float32 from every box, and all bends and lowest points that lie in it."""
    low, high = (np.asarray(end, np.float64) for end in box)
    marks = np.array([0, 0.7517915, 0.7524614, 1.1924312, 1.2784645, 1.4142, 1.4185, 2.3994, 7.9])
    inner = low + (high - low) * np.linspace(0, 1, 201) ** 2
    outer = high - (high - low) * np.linspace(0, 1, 201) ** 2
    spread = np.concatenate([inner, outer, 0 * low + marks, 0 * low - marks], axis=1)
    return np.clip(spread.astype(np.float32), np.asarray(box.low), np.asarray(box.high))


@EVERY_CURVE
def test_lines_and_interval_enclose_the_function_and_what_float32_makes_of_it(name: str) -> None:
    curve, exact, computed = CURVES[name]
    layer, box = Smooth("curve", [0], curve), boxes()
    x = samples(box)
    true, rounded = exact(x.astype(np.float64)), computed(tf.constant(x)).numpy()
    low, high = map(np.asarray, layer.interval(box))
    assert np.all(low <= np.minimum(true, rounded))
    assert np.all(high >= np.maximum(true, rounded))
    error = np.asarray(layer.error(box))
    assert np.all(np.abs(rounded - true) <= error / 4), "the margin for kernels is too close"
    for sign in (1.0, -1.0):
        (slope,), offset = layer.backward(sign * tf.ones_like(box.low), box)
        line = np.asarray(slope, np.float64) * x + np.asarray(offset)[:, None]
        assert np.all(line <= sign * true + 1e-15 * (1 + np.abs(x)))  # float64's own rounding
        assert np.all(line - error <= sign * rounded)


@EVERY_CURVE
def test_no_line_is_further_from_the_curve_than_it_must_be(name: str) -> None:
    """In the middle of a box, where no line can lie above the convex hull of the curve."""
    curve, exact, _ = CURVES[name]
    random = np.random.default_rng(1)
    ends = np.sort(random.normal(size=(300, 2)) * 3).astype(np.float32)
    layer, box = Smooth("curve", [0], curve), Box(ends[:, :1], ends[:, 1:])
    x = np.linspace(ends[:, 0], ends[:, 1], 401, axis=1).astype(np.float64)
    middle, width = x[:, 200], x[:, -1] - x[:, 0]
    for sign in (1.0, -1.0):
        f = sign * exact(x)
        before, after = x[:, :200, None], x[:, None, 201:]
        part = (middle[:, None, None] - before) / (after - before)
        chords = f[:, :200, None] * (1 - part) + f[:, None, 201:] * part
        hull = np.minimum(chords.min(axis=(1, 2)), f[:, 200])
        (slope,), offset = layer.backward(sign * tf.ones_like(box.low), box)
        line = np.asarray(slope, np.float64)[:, 0] * middle + np.asarray(offset)
        share = 0.13 if name == "selu" else 0.004  # no line is sought through its kink
        assert np.all(line >= hull - share * width - 1e-5)


def test_the_line_below_tanh_is_the_tangent_through_its_upper_end() -> None:
    """From -1 to 1 it touches where tanh(d) + (1 - tanh(d)^2)(1 - d) = tanh(1)."""
    touch = brentq(lambda d: np.tanh(d) + (1 - np.tanh(d) ** 2) * (1 - d) - np.tanh(1), -1, -0.1)
    box = Box(tf.constant([[-1.0]]), tf.constant([[1.0]]))
    (slope,), offset = Smooth("tanh", [0], curves.TANH).backward(tf.constant([[1.0]]), box)
    assert float(slope[0, 0]) == pytest.approx(1 - np.tanh(touch) ** 2, abs=2e-3)
    assert float(offset[0]) == pytest.approx(np.tanh(1) - (1 - np.tanh(touch) ** 2), abs=2e-3)


@pytest.mark.parametrize(
    ("curve", "low", "high", "below", "above"),
    [
        (curves.SIGMOID, 1.0, 3.0, "chord", "tangent"),
        (curves.SIGMOID, -3.0, -1.0, "tangent", "chord"),
        (curves.ELU, -2.0, 1.0, "tangent", "chord"),
        (curves.SWISH, -1.0, 2.0, "tangent", "chord"),
        (curves.SWISH, 3.0, 6.0, "chord", "tangent"),
    ],
    ids=["concave", "convex", "elu", "swish", "swish far out"],
)
def test_a_curve_that_bends_one_way_lies_between_its_chord_and_the_tangent_in_the_middle(
    curve: Curve, low: float, high: float, below: str, above: str
) -> None:
    ends = tf.constant([low, high], tf.float64)
    at_low, at_high = curve.value(ends).numpy()
    chord = (at_high - at_low) / (high - low)
    middle = tf.constant((low + high) / 2, tf.float64)
    steep, at_middle = float(curve.slope(middle)), float(curve.value(middle))
    lines = {
        "chord": (chord, at_low - chord * low),
        "tangent": (steep, at_middle - steep * float(middle)),
    }
    box = Box(tf.constant([[low]]), tf.constant([[high]]))
    for sign, kind in ((1.0, below), (-1.0, above)):
        (slope,), offset = Smooth("curve", [0], curve).backward(tf.constant([[sign]]), box)
        found = sign * float(slope[0, 0]), sign * float(offset[0])
        assert found == pytest.approx(lines[kind], abs=3e-3)


@EVERY_CURVE
def test_a_curve_is_what_it_says_of_itself(name: str) -> None:
    """Value, slope, where it is convex, where it is lowest; and no slope occurs on both sides."""
    curve, exact, _ = CURVES[name]
    x = np.linspace(-12, 12, 24001)
    value, slope = curve.value(tf.constant(x)).numpy(), curve.slope(tf.constant(x)).numpy()
    np.testing.assert_allclose(value, exact(x), atol=1e-12)
    rise = np.diff(value) / np.diff(x)
    assert np.all(rise >= np.minimum(slope[1:], slope[:-1]) - 1e-6)
    assert np.all(rise <= np.maximum(slope[1:], slope[:-1]) + 1e-6)
    ((start, end),) = curve.convex
    inside = (x[:-1] >= start) & (x[1:] <= end)
    outside = (x[1:] <= start) | (x[:-1] >= end)
    assert np.all(np.diff(slope)[inside] >= -1e-12)
    assert np.all(np.diff(slope)[outside] <= 1e-12)
    assert np.all(np.diff(value)[x[1:] <= curve.lowest] <= 0)
    assert np.all(np.diff(value)[x[:-1] >= curve.lowest] >= 0)
    assert np.all(np.abs(slope) < 2.0)
    if start > -12:
        assert slope[x <= start].max(initial=-1) < slope[x >= end].min(initial=2)
    assert not curve.bounded or np.abs(value).max() <= 1.0


def test_kernels_are_allowed_more_than_they_are_off_by() -> None:
    assert curves.COMPUTED == 32 * UNIT
