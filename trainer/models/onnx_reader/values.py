"""What flows between the nodes of an ONNX graph, and what a node knows of itself.

A value keeps track of the axis that counts the images. Every operator treats the images along it
one by one or is refused, so an answer never depends on what else is in a batch, and a file that
was exported for one image at a time answers for any number.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from foundation.errors import DataError

OPEN = ", with an open number of images (dynamic_axes)"
TO_CHANNELS_LAST, TO_CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class Images:
    """The axis that counts images, in ONNX's order: `outer` times all images in their order, with
    `factor` places for each of them."""

    axis: int
    factor: int = 1
    outer: int = 1

    @property
    def places(self) -> int:
        """Places of one image."""
        return self.factor * self.outer


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that depends on the images.

    tensor: as it is stored. All its sizes are known, except along the images.
    images: None while constants are computed.
    channels_last: stored as [n, h, w, c] what ONNX means as [n, c, h, w].
    nonnegative: no element is below 0.
    """

    tensor: tf.Tensor
    images: Images | None
    channels_last: bool = False
    nonnegative: bool = False

    @property
    def shape(self) -> list[int | None]:
        """The sizes in ONNX's order, None along the images."""
        sizes = list(self.tensor.shape)
        if self.channels_last:
            sizes = [sizes[axis] for axis in TO_CHANNELS_FIRST]
        if self.images is not None:
            sizes[self.images.axis] = None
        return sizes

    @property
    def rank(self) -> int:
        return len(self.tensor.shape)

    def stored_axis(self, axis: int) -> int:
        """The place in `tensor` of one of ONNX's axes."""
        return TO_CHANNELS_FIRST[axis] if self.channels_last else axis

    def sizes(self) -> list[Any]:
        """The sizes in ONNX's order, an `ImageCount` along the images."""
        return [ImageCount(self.images.places, self) if s is None else s for s in self.shape]  # type: ignore[union-attr]

    def image_count(self) -> tf.Tensor:
        """How many images there are, an integer of the graph."""
        assert self.images is not None
        size = tf.shape(self.tensor)[self.stored_axis(self.images.axis)]
        return size // self.images.places if self.images.places > 1 else size

    def in_onnx_order(self) -> tf.Tensor:
        return _reordered(self.tensor, TO_CHANNELS_FIRST) if self.channels_last else self.tensor

    def with_channels_last(self) -> tf.Tensor:
        """The tensor of four axes as [n, h, w, c]."""
        return self.tensor if self.channels_last else _reordered(self.tensor, TO_CHANNELS_LAST)

    def like(self, tensor: tf.Tensor, nonnegative: bool = False) -> "Value":
        """Another tensor of the same layout."""
        return Value(tensor, self.images, self.channels_last, nonnegative)


def _reordered(tensor: tf.Tensor, order: Sequence[int]) -> tf.Tensor:
    """The tensor of four axes in another order; reshaped where that gives the same."""
    sizes = [tensor.shape[axis] for axis in order]
    moved = [axis for axis in order if axis == 0 or tensor.shape[axis] != 1]
    if moved == sorted(moved) and None not in sizes[1:]:
        return tf.reshape(tensor, [-1, *sizes[1:]])
    return tf.transpose(tensor, order)


@dataclass(frozen=True)
class ImageCount:
    """A size that is a multiple of the number of images, as `Shape` gives it."""

    factor: int
    of: Value = field(compare=False, repr=False)

    def __mul__(self, other: int) -> "ImageCount":
        if not isinstance(other, int | np.integer):
            return NotImplemented
        return ImageCount(self.factor * int(other), self.of)

    __rmul__ = __mul__

    def __floordiv__(self, other: int) -> "ImageCount":
        if not isinstance(other, int | np.integer) or other <= 0 or self.factor % int(other):
            return NotImplemented
        return ImageCount(self.factor // int(other), self.of)

    def tensor(self) -> tf.Tensor:
        return self.factor * self.of.image_count()


@dataclass(frozen=True, eq=False)
class Constant:
    """What does not depend on the pixels: a weight, or sizes.

    array: of type object where a size is an `ImageCount`.
    name: the weight's name in the file and what was made of it; None for what is no weight.
    """

    array: np.ndarray
    name: tuple[Hashable, ...] | None = None

    @property
    def counts_images(self) -> bool:
        return self.array.dtype == object

    def derived(self, array: np.ndarray, *how: Hashable) -> "Constant":
        """What was made of this constant, always in the same way."""
        return Constant(array, self.name and (*self.name, *how))


Operand = Value | Constant
Result = Value | Constant | Sequence[Value | Constant]


class Weights(tf.Module):
    """The weights of a graph as variables, each in the layout in which TensorFlow reads it."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[tf.Variable] = []
        self._places: dict[Hashable, int] = {}

    def tensor(
        self, constant: Constant, layout: Hashable, change: Callable[[np.ndarray], np.ndarray]
    ) -> tf.Tensor | tf.Variable:
        """The constant in a layout; `change` gives it, once a layout."""
        if constant.name is None or constant.array.size <= 1:
            return tf.constant(change(constant.array))
        key = (constant.name, layout)
        if key not in self._places:
            with tf.init_scope():
                self._made.append(tf.Variable(change(constant.array), trainable=False))
            self._places[key] = len(self._made) - 1
        return self._made[self._places[key]]


def unchanged(array: np.ndarray) -> np.ndarray:
    return array


@dataclass(frozen=True, eq=False)
class Node:
    """One node of the graph, as an operator sees it.

    attributes: by name; texts are str, lists are lists.
    opset: version of the standard's operators that the file asks for.
    file_images: the number of images that the file was written for; None where it is open.
    """

    file: Path
    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    file_images: int | None
    weights: Weights
    asked: set[str] = field(default_factory=set)

    def attribute(self, name: str, default: Any) -> Any:
        self.asked.add(name)
        return self.attributes.get(name, default)

    def expect_attribute(self, name: str, *accepted: Any) -> Any:
        """The attribute, the first of `accepted` by default.

        Raises:
            DataError: it has another value.
        """
        value = self.attribute(name, accepted[0])
        if value not in accepted:
            known = " or ".join(map(repr, accepted))
            raise self.refusal(f"expected the attribute {name} to be {known}, got {value!r}")
        return value

    def refusal(self, reason: str) -> DataError:
        return DataError(
            f"{self.file}: {self.operator} (node {self.name!r}): {reason}; export the network "
            f"without it{'' if self.file_images is None else OPEN}, or as a SavedModel or .keras "
            "file"
        )

    def constant(self, operand: Operand | None, what: str) -> Constant:
        """An operand that must not depend on the images."""
        if not isinstance(operand, Constant) or operand.counts_images:
            raise self.refusal(f"expected {what} to be a constant, got a computed value")
        return operand

    def integers(self, name: str, operand: Operand | None) -> list[int] | None:
        """Integers that older opsets have as an attribute and newer ones as an input."""
        attribute = self.attribute(name, None)
        if operand is not None:
            return [int(number) for number in self.constant(operand, name).array.reshape(-1)]
        return None if attribute is None else list(attribute)

    def tensor(
        self,
        operand: Operand,
        layout: Hashable = None,
        change: Callable[[np.ndarray], np.ndarray] = unchanged,
    ) -> tf.Tensor | tf.Variable:
        """A weight in a layout, or a value in ONNX's order."""
        if isinstance(operand, Value):
            return operand.in_onnx_order()
        if operand.counts_images:
            raise self.refusal("expected numbers, got the number of images")
        return self.weights.tensor(operand, layout, change)

    def axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < rank:
            raise self.refusal(f"expected an axis of {rank}, got {axis}")
        return axis % rank

    def axis_within_images(self, axis: int, value: Value) -> int:
        """The axis, counted from the front; not the one that counts the images."""
        axis = self.axis(axis, value.rank)
        if value.images is not None and axis == value.images.axis:
            raise self.refusal(
                f"expected every image to be computed by itself, got axis {axis}, along which the "
                "images lie"
            )
        return axis

    def image(self, value: Operand) -> Value:
        """The value as images stored [n, h, w, c]."""
        if not isinstance(value, Value) or value.rank != 4:
            got = value.shape if isinstance(value, Value) else "a constant"
            raise self.refusal(f"expected images [n, c, h, w], got {got}")
        if value.images is not None and value.images.axis != 0:
            raise self.refusal(f"expected images along axis 0, got axis {value.images.axis}")
        return Value(value.with_channels_last(), value.images, True, value.nonnegative)


def product(sizes: Sequence[Any]) -> Any:
    return math.prod(sizes)
