"""Activations: ReLU, whose lines can be optimised and whose sign can be split, and smooth curves
between fixed lines.

Lines around a curve: chords and tangents, as Zhang et al. 2018 and Singh et al. 2019 take them for
sigmoid and tanh. A line's slope is chosen so that the line lies near the curve in the middle of the
box, and is then moved to where it touches the curve: so no slope makes a bound unsound.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from robustness.bounds.curves import Curve
from robustness.bounds.layers import Box, Layer, Lines, dot
from robustness.bounds.rounding import FEW
from robustness.types import BatchTensor, DoublesTensor

HALVINGS = 10
"""Steps to the point where a tangent touches; it changes tightness, not soundness."""

STRAIGHT = 20.0
"""Beyond it no curve bends any more that a tangent would be sought for."""

STEEPEST = 2.0
"""No curve is steeper."""

NO_WIDTH = 1e-300
"""Smaller than the width of any box except of a point."""

DOUBLE = 1e-12
"""What float64 may add where two slopes are compared, relative to the operand."""


class Relu(Layer):
    """max(operand, 0)."""

    linear = False

    def interval(self, *boxes: Box) -> Box:
        return Box(tf.nn.relu(boxes[0].low), tf.nn.relu(boxes[0].high))

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        low, high = boxes[0]
        lines = lines or self.crown_lines(*boxes)
        on, unsure = tf.cast(low >= 0, a.dtype), (low < 0) & (high > 0)
        lower = tf.where(unsure, lines.lower, on)
        upper = tf.where(unsure, lines.upper * high / tf.where(unsure, high - low, 1.0), on)
        # The line must not fall below the ReLU at either end, whatever way the slope was rounded.
        offset = tf.maximum(-upper * low, high - upper * high) + FEW * (upper * tf.abs(low) + high)
        positive, negative = tf.nn.relu(a), tf.minimum(a, 0.0)
        return [positive * lower + negative * upper], dot(negative, tf.where(unsure, offset, 0.0))

    def error(self, *boxes: Box) -> BatchTensor | None:
        return FEW * boxes[0].magnitude

    @staticmethod
    def crown_lines(box: Box) -> Lines:
        """CROWN's: from above the chord, from below that of the smaller triangle, 1 where high >
        -low, otherwise 0."""
        return Lines(tf.cast(box.high > -box.low, box.low.dtype), tf.ones_like(box.low))

    @staticmethod
    def interval_lines(box: Box) -> Lines:
        """What interval arithmetic takes: 0 and high."""
        return Lines(tf.zeros_like(box.low), tf.zeros_like(box.low))


class Line(NamedTuple):
    """slope * operand + offset; the slope in float32, as coefficients are, the offset in
    float64."""

    slope: BatchTensor
    offset: tf.Tensor


class Smooth(Layer):
    """A curve, bounded as one function of its operand."""

    linear = False

    def __init__(self, name: str, inputs: Sequence[int], curve: Curve) -> None:
        super().__init__(name, inputs)
        self.curve = curve

    def interval(self, *boxes: Box) -> Box:
        low, high = (tf.cast(end, tf.float64) for end in boxes[0])
        bottom = self.curve.value(_clip(self.curve.lowest, low, high))
        top = tf.maximum(self.curve.value(low), self.curve.value(high))
        error = self.curve.error(boxes[0].magnitude)
        return Box(tf.cast(bottom, tf.float32) - error, tf.cast(top, tf.float32) + error)

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        below = line_below(self.curve, boxes[0])
        above = line_below(self.curve.negative, boxes[0])  # of the negative, from below
        positive, negative = tf.nn.relu(a), tf.nn.relu(-a)
        coefficients = positive * below.slope + negative * above.slope
        return [coefficients], dot(positive, below.offset) + dot(negative, above.offset)

    def error(self, *boxes: Box) -> BatchTensor | None:
        return self.curve.error(boxes[0].magnitude)


def line_below(curve: Curve, box: Box) -> Line:
    """A line nowhere above the curve in the box.

    The smallest value of curve - line lies at an end of the box or of a stretch, except where a
    convex stretch has the line's slope inside. The chord's slope is taken where no stretch has it,
    otherwise that of a tangent there.
    """
    low, high = (tf.cast(end, tf.float64) for end in box)
    chord = (curve.value(high) - curve.value(low)) / tf.maximum(high - low, NO_WIDTH)
    slope, touch = _clip(chord, -STEEPEST, STEEPEST), low
    points = [low, high]
    for start, end in curve.convex:
        first, last = _clip(low, start, end), _clip(high, start, end)
        points += [_clip(start, low, high), _clip(end, low, high)]
        inside = (curve.slope(first) < slope) & (slope < curve.slope(last))
        tangent = _clip(_touching(curve, first, last, low, high), start, end)
        touch = tf.where(inside, tangent, touch)
        slope = tf.where(inside, curve.slope(tangent), slope)
    rounded = tf.cast(slope, tf.float32)
    slope = tf.cast(rounded, tf.float64)
    gap = curve.value(touch) - slope * touch
    for point in points:
        gap = tf.minimum(gap, curve.value(point) - slope * point)
    # The slope was rounded after it touched, and so will be its product with a coefficient.
    share = FEW * tf.abs(slope) + DOUBLE
    return Line(rounded, gap - share * tf.maximum(tf.abs(low), tf.abs(high)))


def _touching(
    curve: Curve, first: tf.Tensor, last: tf.Tensor, low: tf.Tensor, high: tf.Tensor
) -> tf.Tensor:
    """The point of a convex stretch, from first to last, whose tangent lies nowhere above the curve
    from low to high, as near to the middle as there is one: by bisection in float32, so nearly."""
    low, high, first, last = (tf.cast(each, tf.float32) for each in (low, high, first, last))
    middle, at_low, at_high = (low + high) / 2, curve.value(low), curve.value(high)

    def halved(first: tf.Tensor, last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        point = (first + last) / 2
        value, slope = curve.value(point), curve.slope(point)
        too_steep = value + slope * (high - point) > at_high
        too_flat = value + slope * (low - point) > at_low
        left = too_steep | (~too_flat & (point > middle))
        return tf.where(left, first, point), tf.where(left, point, last)

    ends = tuple(tf.clip_by_value(end, -STRAIGHT, STRAIGHT) for end in (first, last))
    first, last = tf.while_loop(lambda *_: True, halved, ends, maximum_iterations=HALVINGS)
    return tf.cast((first + last) / 2, tf.float64)


def _clip(x: tf.Tensor | float, low: tf.Tensor | float, high: tf.Tensor | float) -> tf.Tensor:
    x, low, high = (tf.convert_to_tensor(each, tf.float64) for each in (x, low, high))
    return tf.minimum(tf.maximum(x, low), high)
