"""The layers that bounds go through, each with its interval rule, its CROWN rule and its rounding.

A layer is one operation of the traced graph. Tensors have a leading batch dimension; `Box` holds
bounds of the values that the network *computes in float32*, so every rule includes what rounding
can add, on the network's side and on ours (`robustness.bounds.rounding`). Knows nothing of graphs,
images or attacks.

Interval rule: Gowal et al. 2019, eq. 6-8. CROWN rule: Zhang et al. 2018; max pooling as in Singh et
al. 2019 (the input with the highest lower bound from below, the highest upper bound from above).

All layers stand here one below the other, since their rules are read side by side: hence the length
of the file.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf
from jaxtyping import Float32

from robustness.bounds.rounding import FEW, TINY, gamma
from robustness.losses import VERY_LOW
from robustness.types import BatchTensor, DoublesTensor, ImagesTensor

Parameter = Callable[[], tf.Tensor]
"""A weight, read again at each use, so that bounds follow the variables of a model in training."""


Windows = Float32[tf.Tensor, "n rows columns operands c"]


class Box(NamedTuple):
    """Elementwise bounds of a layer's output."""

    low: BatchTensor
    high: BatchTensor

    @property
    def magnitude(self) -> BatchTensor:
        """Largest absolute value of each element."""
        return tf.maximum(tf.abs(self.low), tf.abs(self.high))


class CentredBox(NamedTuple):
    """The same as centre and radius."""

    centre: BatchTensor
    radius: BatchTensor


class Lines(NamedTuple):
    """The lines around a ReLU whose sign is open, through the origin from below and through (high,
    high) from above; each in [0, 1].

    lower: slope of the lower line. upper: slope of the upper one, as a fraction of the chord's.
    """

    lower: BatchTensor
    upper: BatchTensor


class Layer(ABC):
    """One operation; `inputs` are the places of its operands in the list of layers."""

    linear = True

    def __init__(self, name: str, inputs: Sequence[int]) -> None:
        self.name = name
        self.inputs = tuple(inputs)

    @abstractmethod
    def interval(self, *boxes: Box) -> Box:
        """Bounds of the output from bounds of the operands."""

    @abstractmethod
    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        """Coefficients a of the output to coefficients of the operands, and a constant.

        a * output >= sum of coefficients * operands + constant, for every value in the boxes,
        except for the rounding that `error` bounds.
        """

    @abstractmethod
    def error(self, *boxes: Box) -> BatchTensor | None:
        """What rounding may add to each output, by the network and by `backward`; None where it
        adds nothing. Without a default: a layer that forgot it would give unsound bounds."""

    def spread(self, *operands: CentredBox) -> CentredBox:
        """`interval` for training: as centre and radius, and without what rounding may add, at half
        the cost."""
        boxes = [Box(each.centre - each.radius, each.centre + each.radius) for each in operands]
        low, high = self.interval(*boxes)
        return CentredBox((low + high) / 2, (high - low) / 2)


class Input(Layer):
    """The image."""

    def __init__(self) -> None:
        super().__init__("image", ())

    def interval(self, *boxes: Box) -> Box:
        raise AssertionError("the input's box is given")

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        raise AssertionError("the input has no operands")

    def error(self, *boxes: Box) -> BatchTensor | None:
        return None


class Linear(Layer):
    """output = W operand, given by W, |W| and W transposed as functions.

    terms: products that are summed to one output. back_terms: the same for W transposed. 0 for
    both: W only moves values, nothing is rounded.
    """

    terms = 0
    back_terms = 0

    @abstractmethod
    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        """W x, or |W| x."""

    @abstractmethod
    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        """W transposed times a, of the shape of the operand `like`."""

    def interval(self, *boxes: Box) -> Box:
        (box,) = boxes
        if not self.terms:
            return Box(self.apply(box.low, False), self.apply(box.high, False))
        centre = (box.low + box.high) / 2
        radius = tf.maximum(box.high - centre, centre - box.low)
        # gamma |W| magnitude each for the network's sum, our centre, and our radius and last
        # subtraction; and the sum of the widened radii is itself rounded
        share = gamma(self.terms)
        widened = (radius + 3 * share * box.magnitude) * (1 + 2 * share) + TINY
        middle, reach = self.apply(centre, False), self.apply(widened, True)
        return Box(middle - reach, middle + reach)

    def spread(self, *operands: CentredBox) -> CentredBox:
        (box,) = operands
        return CentredBox(self.apply(box.centre, False), self.apply(box.radius, True))

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        return [self.transpose(a, boxes[0].low)], nothing(a)

    def error(self, *boxes: Box) -> BatchTensor | None:
        if not self.terms:
            return None
        share = (gamma(self.terms) + gamma(self.back_terms)) * (1 + 2 * gamma(self.terms))
        return share * self.apply(boxes[0].magnitude + TINY, True)


class Dense(Linear):
    """A matrix product with a kernel float32 [inputs, outputs]."""

    def __init__(
        self, name: str, inputs: Sequence[int], kernel: Parameter, shape: tuple[int, int]
    ) -> None:
        super().__init__(name, inputs)
        self._kernel = kernel
        self.terms, self.back_terms = shape

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return x @ (tf.abs(self._kernel()) if absolute else self._kernel())

    def transpose(self, a: BatchTensor, like: BatchTensor | None = None) -> BatchTensor:
        return tf.matmul(a, self._kernel(), transpose_b=True)


class Convolution(Linear):
    """A convolution with a kernel float32 [h, w, in, out], in NHWC; padding as `tf.nn.conv2d` takes
    it."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        kernel: Parameter,
        shape: tuple[int, int, int, int],
        strides: list[int],
        padding: str | list[list[int]],
        dilations: list[int],
    ) -> None:
        super().__init__(name, inputs)
        self._kernel = kernel
        self._how = {"strides": strides, "padding": padding, "dilations": dilations}
        height, width, incoming, outgoing = shape
        self.terms, self.back_terms = height * width * incoming, height * width * outgoing

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.nn.conv2d(x, tf.abs(self._kernel()) if absolute else self._kernel(), **self._how)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.nn.conv2d_transpose(a, self._kernel(), tf.shape(like), **self._how)


class AveragePool(Linear):
    """The mean of a window; padding is not counted, as TensorFlow does."""

    def __init__(
        self, name: str, inputs: Sequence[int], window: list[int], strides: list[int], padding: str
    ) -> None:
        super().__init__(name, inputs)
        self._window, self._how = window, {"strides": strides, "padding": padding}
        self.terms = window[1] * window[2]
        # An operand cannot be in more windows than a window has operands.
        self.back_terms = self.terms

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.nn.avg_pool2d(x, self._window, **self._how)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        shape = tf.shape(like)
        return tf.raw_ops.AvgPoolGrad(
            orig_input_shape=shape, grad=a, ksize=self._window, **self._how
        )


class Mean(Linear):
    """The mean over height and width (global average pooling)."""

    def __init__(
        self, name: str, inputs: Sequence[int], axes: list[int], keep: bool, count: int
    ) -> None:
        super().__init__(name, inputs)
        self._axes, self._keep, self.terms, self.back_terms = axes, keep, count, 1

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.reduce_mean(x, self._axes, keepdims=self._keep)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        for axis in [] if self._keep else sorted(self._axes):
            a = tf.expand_dims(a, axis)
        return tf.broadcast_to(a, tf.shape(like)) / float(self.terms)


class Scale(Linear):
    """Multiplication with a parameter, one factor a channel or one an element."""

    # More than one, to cover factors that were computed from others, as in a normalisation.
    terms = back_terms = 4

    def __init__(self, name: str, inputs: Sequence[int], factor: Parameter) -> None:
        super().__init__(name, inputs)
        self._factor = factor

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return x * (tf.abs(self._factor()) if absolute else self._factor())

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return a * self._factor()


class Reshape(Linear):
    """Another shape for the same values, such as flattening."""

    def __init__(self, name: str, inputs: Sequence[int], shape: Sequence[int]) -> None:
        super().__init__(name, inputs)
        self._shape = [-1, *shape]

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.reshape(x, self._shape)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.reshape(a, tf.shape(like))


class ZeroPad(Linear):
    """Zeros around height and width."""

    def __init__(self, name: str, inputs: Sequence[int], paddings: list[list[int]]) -> None:
        super().__init__(name, inputs)
        self._paddings = paddings

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.pad(x, self._paddings)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.slice(a, [before for before, _ in self._paddings], tf.shape(like))


class Shift(Layer):
    """Addition of a parameter, such as a bias."""

    def __init__(self, name: str, inputs: Sequence[int], offset: Parameter) -> None:
        super().__init__(name, inputs)
        self.offset = offset

    def spread(self, *operands: CentredBox) -> CentredBox:
        return CentredBox(operands[0].centre + self.offset(), operands[0].radius)

    def interval(self, *boxes: Box) -> Box:
        offset = self.offset()
        slack = FEW * (boxes[0].magnitude + tf.abs(offset))
        return Box(boxes[0].low + offset - slack, boxes[0].high + offset + slack)

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        return [a], dot(a, self.offset())

    def error(self, *boxes: Box) -> BatchTensor | None:
        return FEW * (boxes[0].magnitude + tf.abs(self.offset()))


class Sum(Layer):
    """The sum of two layers (a residual connection), or their difference."""

    def __init__(self, name: str, inputs: Sequence[int], sign: float) -> None:
        super().__init__(name, inputs)
        self._sign = sign

    def interval(self, *boxes: Box) -> Box:
        first, second = boxes
        low, high = (second.low, second.high) if self._sign > 0 else (-second.high, -second.low)
        slack = FEW * (first.magnitude + second.magnitude)
        return Box(first.low + low - slack, first.high + high + slack)

    def spread(self, *operands: CentredBox) -> CentredBox:
        first, second = operands
        return CentredBox(first.centre + self._sign * second.centre, first.radius + second.radius)

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        return [a, self._sign * a], nothing(a)

    def error(self, *boxes: Box) -> BatchTensor | None:
        return FEW * (boxes[0].magnitude + boxes[1].magnitude)


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


def dot(a: BatchTensor, b: tf.Tensor) -> DoublesTensor:
    """Sum over all but the batch of a * b, summed in float64."""
    product = tf.cast(a, tf.float64) * tf.cast(b, tf.float64)
    return tf.reduce_sum(product, axis=list(range(1, len(a.shape))))


def nothing(a: BatchTensor) -> DoublesTensor:
    """No constant: zeros."""
    return tf.zeros(tf.shape(a)[:1], tf.float64)
