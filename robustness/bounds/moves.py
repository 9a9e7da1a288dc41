"""Layers that move values to other places, repeat them or blend neighbours."""

import math
from collections.abc import Sequence

import tensorflow as tf

from robustness.bounds.layers import Box, CentredBox, Layer, Linear, Lines, Parameter, dot, nothing
from robustness.bounds.rounding import gamma
from robustness.types import BatchTensor, DoublesTensor


class Reshape(Linear):
    """Another shape for the same values, such as flattening."""

    def __init__(self, name: str, inputs: Sequence[int], shape: Sequence[int]) -> None:
        super().__init__(name, inputs)
        self._shape = [-1, *shape]

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.reshape(x, self._shape)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.reshape(a, tf.shape(like))


class Transpose(Linear):
    """Another order of the axes; the first stays the first."""

    def __init__(self, name: str, inputs: Sequence[int], order: list[int]) -> None:
        super().__init__(name, inputs)
        self._order = order
        self._back = [order.index(axis) for axis in range(len(order))]

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.transpose(x, self._order)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.transpose(a, self._back)


class Pad(Linear):
    """The same number all around, mostly 0; paddings of every axis, none of the batch."""

    def __init__(
        self, name: str, inputs: Sequence[int], paddings: list[list[int]], filling: float
    ) -> None:
        super().__init__(name, inputs)
        self._paddings, self._filling = paddings, filling

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.pad(x, self._paddings, constant_values=self._filling)

    def spread(self, *operands: CentredBox) -> CentredBox:
        (box,) = operands
        return CentredBox(self.apply(box.centre, False), tf.pad(box.radius, self._paddings))

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.slice(a, [before for before, _ in self._paddings], tf.shape(like))

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        around = self.apply(tf.zeros_like(boxes[0].low), False)
        constant = dot(a, around) if self._filling else nothing(a)
        return [self.transpose(a, boxes[0].low)], constant


class MirrorPad(Linear):
    """The operand's own border, mirrored, around it."""

    terms = 1

    def __init__(
        self, name: str, inputs: Sequence[int], paddings: list[list[int]], mode: str
    ) -> None:
        super().__init__(name, inputs)
        self._how = {"paddings": paddings, "mode": mode}
        # Along an axis a value is there itself, mirrored before and mirrored after.
        self.back_terms = 3 ** sum(map(any, paddings))

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.raw_ops.MirrorPad(input=x, **self._how)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.raw_ops.MirrorPadGrad(input=a, **self._how)


class Part(Linear):
    """Every so-manyth value from one place to another, along every axis except the batch's.

    cuts: start, end and step of each.
    """

    def __init__(self, name: str, inputs: Sequence[int], cuts: list[tuple[int, int, int]]) -> None:
        super().__init__(name, inputs)
        self._starts, self._ends, self._steps = ([0, *each] for each in zip(*cuts, strict=True))
        self._steps[0] = 1

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.strided_slice(x, self._starts, self._ends, self._steps, begin_mask=1, end_mask=1)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.raw_ops.StridedSliceGrad(
            shape=tf.shape(like),
            begin=self._starts,
            end=self._ends,
            strides=self._steps,
            dy=a,
            begin_mask=1,
            end_mask=1,
        )


class Tile(Linear):
    """The operand several times, along every axis except the batch's."""

    def __init__(
        self, name: str, inputs: Sequence[int], shape: tuple[int, ...], multiples: list[int]
    ) -> None:
        super().__init__(name, inputs)
        self._multiples, self._split = [1, *multiples], [-1]
        for size, multiple in zip(shape, multiples, strict=True):
            self._split += [multiple, size]
        self.terms, self.back_terms = 1, math.prod(multiples)

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.tile(x, self._multiples)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.reduce_sum(tf.reshape(a, self._split), list(range(1, len(self._split), 2)))


class Nearest(Linear):
    """An image of another size, every value that of the nearest one."""

    terms = 1

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        size: tuple[int, ...],
        output: tuple[int, ...],
        how: dict[str, bool],
    ) -> None:
        super().__init__(name, inputs)
        self._size, self._output, self._how = size, output, how
        # An operand is read for no more outputs than these along an axis.
        reads = [
            min(to, 2 * (to // max(of - 1, 1) + 2)) for of, to in zip(size, output, strict=True)
        ]
        self.back_terms = math.prod(reads)

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=self._output, **self._how)

    def transpose(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        """With its gradient, which alpha-CROWN needs and TensorFlow has not."""
        transposed = tf.custom_gradient(
            lambda a: (self._transposed(a, like), lambda upstream: self.apply(upstream, False))
        )
        return transposed(a)

    def _transposed(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.raw_ops.ResizeNearestNeighborGrad(grads=a, size=self._size, **self._how)


class Bilinear(Nearest):
    """An image of another size, every value between its four neighbours."""

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        size: tuple[int, ...],
        output: tuple[int, ...],
        how: dict[str, bool],
    ) -> None:
        super().__init__(name, inputs, size, output, how)
        # Three blends of two; and the weights, the places among the operands, are rounded too.
        self.terms = 12 + 4 * sum(size)

    def apply(self, x: BatchTensor, absolute: bool) -> BatchTensor:
        return tf.raw_ops.ResizeBilinear(images=x, size=self._output, **self._how)

    def _transposed(self, a: BatchTensor, like: BatchTensor) -> BatchTensor:
        return tf.raw_ops.ResizeBilinearGrad(grads=a, original_image=like, **self._how)

    def interval(self, *boxes: Box) -> Box:
        low, high = (self.apply(end, False) for end in boxes[0])
        slack = 2 * gamma(self.terms) * self._largest(boxes[0])
        return Box(low - slack, high + slack)

    def error(self, *boxes: Box) -> BatchTensor | None:
        return (gamma(self.terms) + gamma(self.back_terms)) * self._largest(boxes[0])

    def _largest(self, box: Box) -> BatchTensor:
        """The largest magnitude of each channel: the network adds differences of neighbours, so a
        large one counts however little it weighs."""
        largest = tf.reduce_max(box.magnitude, axis=[1, 2], keepdims=True)
        return tf.ones_like(self.apply(box.low, False)) * largest


class Concatenation(Layer):
    """Several operands one behind the other.

    Args:
        axis: along which.
        sizes: of every part along it.
        known: the parts that do not depend on the image; None where one does.
    """

    def __init__(
        self,
        name: str,
        inputs: Sequence[int],
        axis: int,
        sizes: list[int],
        known: list[Parameter | None],
    ) -> None:
        super().__init__(name, inputs)
        self._axis, self._sizes, self._known = axis, sizes, known

    def interval(self, *boxes: Box) -> Box:
        lows, highs = zip(*boxes, strict=True)
        return Box(self._joined(lows), self._joined(highs))

    def spread(self, *operands: CentredBox) -> CentredBox:
        centres, radii = zip(*operands, strict=True)
        return CentredBox(self._joined(centres), self._joined(radii, still=True))

    def backward(
        self, a: BatchTensor, *boxes: Box, lines: Lines | None = None
    ) -> tuple[list[BatchTensor], DoublesTensor]:
        coefficients, constant = [], nothing(a)
        parts = tf.split(a, self._sizes, axis=self._axis)
        for part, known in zip(parts, self._known, strict=True):
            if known is None:
                coefficients.append(part)
            else:
                constant += dot(part, known())
        return coefficients, constant

    def error(self, *boxes: Box) -> BatchTensor | None:
        return None

    def _joined(self, operands: Sequence[BatchTensor], still: bool = False) -> BatchTensor:
        """The operands and the known parts in their order; still: 0 for the known ones."""
        rows, given, parts = tf.shape(operands[0])[0], iter(operands), []
        for known in self._known:
            part = next(given) if known is None else known() * (0.0 if still else 1.0)
            shape = tf.concat([[rows], tf.shape(part)[1:]], axis=0)
            parts.append(part if known is None else tf.broadcast_to(part, shape))
        return tf.concat(parts, axis=self._axis)
