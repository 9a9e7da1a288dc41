"""Max pooling as in Singh et al. 2019: from below the input with the highest lower bound, from
above the highest upper bound."""

import itertools
from collections.abc import Sequence

import tensorflow as tf
from jaxtyping import Float32

from robustness.bounds.layers import Box, Layer, Lines, dot
from robustness.bounds.rounding import FEW
from robustness.losses import VERY_LOW
from robustness.types import BatchTensor, DoublesTensor, ImagesTensor

Windows = Float32[tf.Tensor, "n rows columns operands c"]


class MaxPool(Layer):
    """The largest value of a window."""

    linear = False

    def __init__(
        self, name: str, inputs: Sequence[int], window: list[int], strides: list[int], padding: str
    ) -> None:
        super().__init__(name, inputs)
        self._window, self._strides, self._padding = window, strides, padding

    def interval(self, *boxes: Box) -> Box:
        how = (self._window, self._strides, self._padding)
        return Box(*(tf.nn.max_pool2d(bound, *how) for bound in boxes[0]))

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        lows, highs = (self._windows(bound) for bound in boxes[0])
        highest = tf.argmax(lows, axis=3)
        winner = tf.one_hot(highest, lows.shape[3], axis=3, on_value=True, off_value=False)
        # It is the maximum for certain when no other reaches its lower bound.
        rivals = tf.reduce_max(tf.where(winner, VERY_LOW, highs), axis=3)
        decided = rivals <= tf.reduce_max(lows, axis=3)
        positive, negative = tf.nn.relu(a), tf.minimum(a, 0.0)
        to_winner = (positive + tf.where(decided, negative, 0.0))[:, :, :, tf.newaxis, :]
        with tf.GradientTape(watch_accessed_variables=False) as tape:  # the transpose of `_windows`
            operand = tf.zeros_like(boxes[0].low)
            tape.watch(operand)
            windows = self._windows(operand)
        coefficients = tape.gradient(windows, operand, tf.where(winner, to_winner, 0.0))
        return [coefficients], dot(negative, tf.where(decided, 0.0, tf.reduce_max(highs, axis=3)))

    def error(self, *boxes: Box) -> BatchTensor | None:
        """Windows that overlap add up coefficients of the same operand."""
        return FEW * self._window[1] * self._window[2] * self.interval(*boxes).magnitude

    def _windows(self, x: ImagesTensor) -> Windows:
        """The operands of every window; the padding is very low."""
        (_, *window, _), (_, *strides, _) = self._window, self._strides
        same = self._padding == "SAME"
        paddings, outputs = [[0, 0]], []
        for size, reach, stride in zip(x.shape[1:3], window, strides, strict=True):
            output = -(-size // stride) if same else (size - reach) // stride + 1
            missing = max((output - 1) * stride + reach - size, 0) if same else 0
            paddings.append([missing // 2, missing - missing // 2])
            outputs.append(output)
        padded = tf.pad(x, [*paddings, [0, 0]], constant_values=VERY_LOW)
        (down, across), (rows, columns) = strides, outputs
        operands = []
        for i, j in itertools.product(range(window[0]), range(window[1])):
            below, right = i + down * (rows - 1) + 1, j + across * (columns - 1) + 1
            operands.append(padded[:, i:below:down, j:right:across])
        return tf.stack(operands, axis=3)


class GlobalMaxPool(MaxPool):
    """The largest value over height and width; both stay, with size 1."""

    def __init__(self, name: str, inputs: Sequence[int], size: tuple[int, ...]) -> None:
        window = [1, *size, 1]
        super().__init__(name, inputs, window, window, "VALID")

    def error(self, *boxes: Box) -> BatchTensor | None:
        return FEW * self.interval(*boxes).magnitude

    def _windows(self, x: ImagesTensor) -> Windows:
        """There is only one: the whole operand."""
        height, width, channels = x.shape[1:]
        return tf.reshape(x, [-1, 1, 1, height * width, channels])
