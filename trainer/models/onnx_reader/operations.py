"""ONNX's operators as TensorFlow operations: the table, and those that combine operands element by
element.

Where several operations would do, those are taken that the bounds know
(`robustness.bounds.rules.RULES`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.values import (
    TO_CHANNELS_LAST,
    Constant,
    Images,
    Node,
    Operand,
    Result,
    Value,
)

Operator = Callable[..., Result]
OPERATORS: dict[str, Operator] = {}
"""By name; an operator gets its node and its operands, None for one that is left out."""


def operator(*names: str) -> Callable[[Operator], Operator]:
    def register(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def only_value(node: Node, operand: Operand | None, what: str = "the first operand") -> Value:
    if not isinstance(operand, Value):
        raise node.refusal(f"expected {what} to be computed from the images, got a constant")
    return operand


def aligned(
    node: Node, operands: Sequence[Operand]
) -> tuple[list[tf.Tensor], Callable[..., Value]]:
    """Operands as tensors that broadcast to each other as ONNX's do, and what makes the value of
    the result."""
    values = [operand for operand in operands if isinstance(operand, Value)]
    ranks = [o.rank if isinstance(o, Value) else o.array.ndim for o in operands]
    rank, images = max(ranks), None
    for value in values:
        if value.images is not None:
            own = replace(value.images, axis=value.images.axis + rank - value.rank)
            if images not in (None, own):
                raise node.refusal("expected the images of all operands along the same axis")
            images = own
    expect_no_images(node, operands, rank, images)
    if rank == 4 and any(value.channels_last for value in values):
        tensors = [_broadcast_channels_last(node, operand) for operand in operands]
        return tensors, lambda tensor: Value(tensor, images, channels_last=True)
    return [node.tensor(operand) for operand in operands], lambda tensor: Value(tensor, images)


def expect_no_images(
    node: Node, operands: Sequence[Operand], rank: int, images: Images | None
) -> None:
    """That whatever does not depend on the images is the same for all of them."""
    for operand in operands:
        if images is None or (isinstance(operand, Value) and operand.images is not None):
            continue
        shape = operand.shape if isinstance(operand, Value) else operand.array.shape
        axis = images.axis - (rank - len(shape))
        if axis >= 0 and shape[axis] != 1:
            raise node.refusal(
                f"expected the same constant for every image, got one of shape {tuple(shape)} "
                f"along axis {axis} of the images"
            )


def _broadcast_channels_last(node: Node, operand: Operand) -> tf.Tensor:
    if isinstance(operand, Constant):
        return node.tensor(operand, "nhwc", _constant_channels_last)
    if operand.rank < 4:
        tensor = operand.in_onnx_order()
        operand = Value(tf.reshape(tensor, [1] * (4 - operand.rank) + list(tensor.shape)), None)
    return operand.with_channels_last()


def _constant_channels_last(array: np.ndarray) -> np.ndarray:
    """A constant that broadcasts to [n, c, h, w] for [n, h, w, c], without needless axes."""
    array = array.reshape((1,) * (4 - array.ndim) + array.shape).transpose(TO_CHANNELS_LAST)
    while array.ndim and array.shape[0] == 1:
        array = array[0]
    return array


def _combined(function: Callable[..., tf.Tensor]) -> Operator:
    def combine(node: Node, *operands: Operand) -> Value:
        tensors, value = aligned(node, operands)
        result = tensors[0]
        for tensor in tensors[1:]:
            result = function(result, tensor)
        return value(tf.convert_to_tensor(result))

    return combine


def _divide(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.truncatediv(x, y) if x.dtype.is_integer else tf.divide(x, y)


OPERATORS |= {
    "Add": _combined(tf.add),
    "And": _combined(tf.logical_and),
    "Div": _combined(_divide),
    "Equal": _combined(tf.equal),
    "Greater": _combined(tf.greater),
    "Less": _combined(tf.less),
    "Max": _combined(tf.maximum),
    "Min": _combined(tf.minimum),
    "Mul": _combined(tf.multiply),
    "Or": _combined(tf.logical_or),
    "Sub": _combined(tf.subtract),
    "Sum": _combined(tf.add),
}


@operator("Mod")
def modulo(node: Node, x: Operand, y: Operand) -> Value:
    node.expect_attribute("fmod", 0)
    tensors, value = aligned(node, [x, y])
    return value(tf.math.floormod(*tensors))


@operator("Where")
def where(node: Node, condition: Operand, x: Operand, y: Operand) -> Value:
    tensors, value = aligned(node, [condition, x, y])
    return value(tf.where(*tensors))


@operator("Pow")
def power(node: Node, x: Value, exponent: Operand) -> Value:
    array = node.constant(exponent, "the exponent").array
    if array.size == 1 and array.ndim <= only_value(node, x).rank:
        number = array.item()
        if number in (2, 0.5):
            return x.like((tf.square if number == 2 else tf.sqrt)(x.tensor), nonnegative=True)
        return x.like(tf.pow(x.tensor, tf.cast(number, x.tensor.dtype)))
    floats = Constant(array.astype(x.tensor.dtype.as_numpy_dtype))
    tensors, value = aligned(node, [x, floats])
    return value(tf.pow(*tensors))
