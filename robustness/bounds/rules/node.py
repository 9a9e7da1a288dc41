"""A tensor of a graph as the rules see it, and what a rule is."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from robustness.bounds import linear
from robustness.bounds.graph import Graph, NoBoundError
from robustness.bounds.layers import Layer, Parameter


class Node(NamedTuple):
    """A tensor that depends on the image, as the rules see it.

    Attributes:
        tensor: what its operation gives.
        places: places of the operands that depend on the image, in their order.
        graph: what knows the others.
        place: place of the next layer.
    """

    tensor: tf.Tensor
    places: list[int]
    graph: Graph
    place: int

    @property
    def op(self) -> tf.Operation:
        return self.tensor.op

    @property
    def name(self) -> str:
        return str(self.op.name)

    def shape(self, number: int) -> tuple[int, ...]:
        """The shape of one operand without the batch, known in full."""
        return self._known(self.op.inputs[number])

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of the output without the batch, known in full."""
        return self._known(self.tensor)

    def parameter(self, number: int) -> Parameter:
        """An operand that does not depend on the image."""
        self.expect(not self.graph.from_image(self.op.inputs[number]))
        return self.graph.parameter(self.op.inputs[number])

    def value(self, number: int) -> np.ndarray:
        """What it holds now."""
        return np.asarray(self.parameter(number)())

    def kernel(self, number: int) -> tuple[Parameter, tuple[int, ...]]:
        """It, and its shape."""
        self.expect(self.op.inputs[number].shape.is_fully_defined())
        return self.parameter(number), tuple(self.op.inputs[number].shape)

    def sides(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Of two operands the one that depends on the image, which is not broadcast, and the
        other."""
        first, second = self.op.inputs
        data, other = (first, second) if self.graph.from_image(first) else (second, first)
        self.expect(self.tensor.shape[1:] == data.shape[1:])
        return data, other

    def padding(self) -> str | list[list[int]]:
        """The padding of a convolution, as `tf.nn.conv2d` takes it."""
        padding: str = self.op.get_attr("padding").decode()
        if padding != "EXPLICIT":
            return padding
        flat = self.op.get_attr("explicit_paddings")
        return [list(flat[i : i + 2]) for i in range(0, len(flat), 2)]

    def expect(self, holds: bool) -> None:
        """Raise `NoBoundError` where the operation is used in another way than expected."""
        if not holds:
            raise NoBoundError(
                f"no bound is known for the operation {self.op.type} (named {self.name!r}) as it "
                "is used here"
            )

    def _known(self, tensor: tf.Tensor) -> tuple[int, ...]:
        self.expect(tensor.shape.rank is not None and tensor.shape[1:].is_fully_defined())
        return tuple(tensor.shape[1:])


Rule = Callable[[Node], list[Layer]]


def scaled(node: Node, factor: float, operand: int) -> Layer:
    """A multiple of the layer at a place."""
    return linear.Scale(node.name, [operand], lambda: tf.constant(factor, tf.float32))
