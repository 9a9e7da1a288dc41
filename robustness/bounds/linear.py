"""Layers that weigh and sum: products with kernels, means, factors, offsets, sums of layers."""

import itertools
from collections.abc import Sequence

import tensorflow as tf

from robustness.bounds.layers import (
    Box,
    CentredBox,
    Layer,
    Linear,
    Lines,
    Parameter,
    dot,
    nothing,
)
from robustness.bounds.rounding import FEW
from robustness.types import BatchTensor, DoublesTensor


class Dense(Linear):
    """A matrix product with a kernel float32 [inputs, outputs], along the last axis."""

    def __init__(
        self, name: str, inputs: Sequence[int], kernel: Parameter, shape: tuple[int, ...]
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
    it. In groups the kernel has the inputs of one."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        kernel: Parameter,
        shape: tuple[int, ...],
        strides: list[int],
        padding: str | list[list[int]],
        dilations: list[int],
        groups: int = 1,
    ) -> None:
        super().__init__(name, inputs)
        self._kernel, self._dilations, self._groups = kernel, dilations, groups
        self._how = {"strides": strides, "padding": padding}
        height, width, incoming, outgoing = shape
        self.terms, self.back_terms = height * width * incoming, height * width * outgoing

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        kernel = tf.abs(self._kernel()) if absolute else self._kernel()
        return tf.nn.conv2d(x, kernel, dilations=self._dilations, **self._how)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        kernel = ungrouped(dilated(self._kernel(), self._dilations), self._groups)
        return tf.nn.conv2d_transpose(a, kernel, tf.shape(like), **self._how)


class Depthwise(Linear):
    """A convolution of every channel on its own with a kernel float32 [h, w, in, multiplier]."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        kernel: Parameter,
        shape: tuple[int, ...],
        strides: list[int],
        padding: str | list[list[int]],
        dilations: list[int],
    ) -> None:
        super().__init__(name, inputs)
        self._kernel, self._dilations = kernel, dilations
        self._how = {"strides": strides, "padding": padding}
        if not isinstance(padding, str):
            flat = list(itertools.chain(*padding))
            self._how |= {"padding": "EXPLICIT", "explicit_paddings": flat}
        height, width, _, multiplier = shape
        self.terms, self.back_terms = height * width, height * width * multiplier

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        kernel = dilated(self._kernel(), self._dilations)
        return tf.raw_ops.DepthwiseConv2dNative(
            input=x, filter=tf.abs(kernel) if absolute else kernel, **self._how
        )

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=tf.shape(like),
            filter=dilated(self._kernel(), self._dilations),
            out_backprop=a,
            **self._how,
        )


def dilated(kernel: tf.Tensor, dilations: list[int]) -> tf.Tensor:
    """The kernel with zeros in place of what dilations skip: on a CPU TensorFlow transposes no
    convolution that has some."""
    _, down, across, _ = dilations
    if down == across == 1:
        return kernel
    height, width, *channels = kernel.shape
    apart = [[0, 0], [0, down - 1], [0, 0], [0, across - 1], [0, 0], [0, 0]]
    spread = tf.pad(kernel[:, tf.newaxis, :, tf.newaxis], apart)
    spread = tf.reshape(spread, [height * down, width * across, *channels])
    return spread[: (height - 1) * down + 1, : (width - 1) * across + 1]


def ungrouped(kernel: tf.Tensor, groups: int) -> tf.Tensor:
    """The kernel of a convolution in groups as one of all inputs, with zeros: on a CPU TensorFlow
    transposes none in groups."""
    if groups == 1:
        return kernel
    size, parts = kernel.shape[2], tf.split(kernel, groups, axis=3)
    around = [[[0, 0], [0, 0], [i * size, (groups - 1 - i) * size], [0, 0]] for i in range(groups)]
    return tf.concat([tf.pad(*each) for each in zip(parts, around, strict=True)], axis=3)


class TransposedConvolution(Linear):
    """A convolution from outputs to inputs with a kernel float32 [h, w, out, in]; output: height,
    width and channels of what it gives."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        kernel: Parameter,
        shape: tuple[int, ...],
        output: tuple[int, ...],
        strides: list[int],
        padding: str | list[list[int]],
    ) -> None:
        super().__init__(name, inputs)
        self._kernel, self._output = kernel, output
        self._how = {"strides": strides, "padding": padding}
        height, width, outgoing, incoming = shape
        self.terms, self.back_terms = height * width * incoming, height * width * outgoing

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        kernel = tf.abs(self._kernel()) if absolute else self._kernel()
        return tf.nn.conv2d_transpose(x, kernel, [tf.shape(x)[0], *self._output], **self._how)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.nn.conv2d(a, self._kernel(), **self._how)


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
    """The mean over axes, such as height and width; count: how many values it is of."""

    def __init__(
        self, name: str, inputs: Sequence[int], axes: list[int], keep: bool, count: int
    ) -> None:
        super().__init__(name, inputs)
        self._axes, self._keep, self.terms, self.back_terms = axes, keep, count, 1

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.reduce_mean(x, self._axes, keepdims=self._keep)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return self._repeated(a, like) / float(self.terms)

    def _repeated(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        """a for every value that it is the coefficient of."""
        for axis in [] if self._keep else sorted(self._axes):
            a = tf.expand_dims(a, axis)
        return tf.broadcast_to(a, tf.shape(like))


class Total(Mean):
    """The sum over axes."""

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.reduce_sum(x, self._axes, keepdims=self._keep)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return self._repeated(a, like)


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
