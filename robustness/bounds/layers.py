"""What a layer is that bounds go through: its interval rule, its CROWN rule and its rounding.

A layer is one operation of the traced graph. Tensors have a leading batch dimension; `Box` holds
bounds of the values that the network *computes in float32*, so every rule includes what rounding
can add, on the network's side and on ours (`robustness.bounds.rounding`). Knows nothing of graphs,
images or attacks.

The layers stand in `robustness.bounds.linear`, `moves`, `pooling` and `activations`. Interval rule:
Gowal et al. 2019, eq. 6-8. CROWN rule: Zhang et al. 2018.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from robustness.bounds.rounding import TINY, gamma
from robustness.types import BatchTensor, DoublesTensor

Parameter = Callable[[], tf.Tensor]
"""A weight, read again at each use, so that bounds follow the variables of a model in training."""


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


def dot(a: BatchTensor, b: tf.Tensor) -> DoublesTensor:
    """Sum over all but the batch of a * b, summed in float64."""
    product = tf.cast(a, tf.float64) * tf.cast(b, tf.float64)
    return tf.reduce_sum(product, axis=list(range(1, len(a.shape))))


def nothing(a: BatchTensor) -> DoublesTensor:
    """No constant: zeros."""
    return tf.zeros(tf.shape(a)[:1], tf.float64)
