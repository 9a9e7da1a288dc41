"""ONNX's operators on sizes, among which the number of images stays a symbol."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import operator
from trainer.models.onnx_reader.shapes import shown, size_for_one, sizes_of, spread
from trainer.models.onnx_reader.values import (
    Constant,
    ImageCount,
    Images,
    Node,
    Operand,
    Result,
    Value,
)

LARGEST = 1 << 26
"""Elements of a constant that is computed from sizes."""


@operator("Shape")
def shape(node: Node, x: Operand) -> Constant:
    start, end = node.attribute("start", 0), node.attribute("end", None)
    sizes = x.sizes() if isinstance(x, Value) else list(x.array.shape)
    return sizes_constant(np.array(sizes[slice(start, end)], dtype=object))


@operator("Constant")
def constant(node: Node) -> Constant:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = node.attribute(name, None)
        if value is not None:
            dtype = np.float32 if "float" in name else np.int64 if "int" in name else None
            return Constant(np.asarray(value, dtype))
    raise node.refusal("expected numbers")


@operator("Expand")
def expand(node: Node, x: Operand, shape: Operand) -> Value:
    target = sizes_of(node, shape)
    sizes = x.sizes() if isinstance(x, Value) else list(x.array.shape)
    rank = max(len(sizes), len(target))
    sizes, target = ([*[1] * (rank - len(s)), *s] for s in (sizes, target))
    full = [new if old == 1 else old for old, new in zip(sizes, target, strict=True)]
    pairs = zip(full, target, strict=True)
    if any(new not in (1, size) and not _images_of_file(node, size, new) for size, new in pairs):
        raise node.refusal(f"expected a shape that {shown(sizes)} fits, got {shown(target)}")
    counted = [axis for axis, size in enumerate(full) if isinstance(size, ImageCount)]
    tensor = node.tensor(x)
    if not counted:
        return Value(tf.broadcast_to(tensor, full), None)
    if len(counted) > 1:
        raise node.refusal("expected images along one axis")
    (axis,) = counted
    images = Images(axis, full[axis].factor)
    return spread(tensor, [s.tensor() if isinstance(s, ImageCount) else s for s in full], images)


def _images_of_file(node: Node, size: Any, new: Any) -> bool:
    """Whether a size is the number of images, written out."""
    if not isinstance(size, ImageCount) or node.file_images is None:
        return False
    return new == size.factor * node.file_images


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Operand) -> Result:
    fill = np.asarray(node.attribute("value", np.zeros(1, np.float32))).reshape(())
    sizes = sizes_of(node, shape)
    if math.prod(map(size_for_one, sizes)) > LARGEST:
        raise node.refusal(f"expected at most {LARGEST} elements, got {shown(sizes)}")
    if any(isinstance(size, ImageCount) for size in sizes):
        return expand(node, Constant(fill), shape)
    return Constant(np.full(sizes, fill))


def sizes_constant(array: Any) -> Constant:
    """Sizes as plain integers, if the number of images is not among them."""
    array = np.asarray(array)
    if array.dtype == object and not any(isinstance(n, ImageCount) for n in array.flat):
        array = array.astype(np.int64)
    return Constant(array)


def _sizes_gather(node: Node, data: np.ndarray, indices: np.ndarray) -> np.ndarray:
    return _as_array(np.take(data, indices.astype(np.int64), node.attribute("axis", 0)), data)


def _as_array(result: Any, like: np.ndarray) -> np.ndarray:
    """An array, although NumPy gives an element of an array of objects as itself."""
    return np.asarray(result, dtype=like.dtype)


def _sizes_slice(node: Node, data: np.ndarray, *given: np.ndarray) -> np.ndarray:
    names = ("starts", "ends", "axes", "steps")
    operands = [*map(Constant, given), *[None] * 4][:4]
    numbers = [node.integers(name, o) for name, o in zip(names, operands, strict=True)]
    starts, ends = numbers[0] or [], numbers[1] or []
    axes = list(range(len(starts))) if numbers[2] is None else numbers[2]
    steps = [1] * len(starts) if numbers[3] is None else numbers[3]
    slices = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        slices[node.axis(axis, data.ndim)] = slice(start, end, step)
    return data[tuple(slices)]


def _sizes_unsqueeze(node: Node, data: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
    axes = node.integers("axes", None if given is None else Constant(given))
    return np.expand_dims(data, tuple(axes or []))


def _sizes_squeeze(node: Node, data: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
    axes = node.integers("axes", None if given is None else Constant(given))
    return np.squeeze(data, None if axes is None else tuple(axes))


def _sizes_divide(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if object in (x.dtype, y.dtype):
        return _as_array(x // y, np.empty(0, object))
    return np.trunc(x / y).astype(x.dtype)


def _sizes_multiply(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x * y, dtype=object if object in (x.dtype, y.dtype) else x.dtype)


def _sizes_product(node: Node, data: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
    node.integers("axes", None if given is None else Constant(given))
    keep = node.attribute("keepdims", 1)
    if data.ndim != 1:
        raise node.refusal(f"expected a list of sizes, got shape {data.shape}")
    return np.array([math.prod(data)] if keep else math.prod(data), dtype=data.dtype)


def _sizes_equal(node: Node, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(np.equal(x, y), dtype=bool)


def _sizes_cast(node: Node, data: np.ndarray) -> np.ndarray:
    node.attribute("to", 0), node.attribute("saturate", 1), node.attribute("round_mode", "up")
    return data


def _sizes_reshape(node: Node, data: np.ndarray, target: np.ndarray) -> np.ndarray:
    node.attribute("allowzero", 0)
    return data.reshape(target.tolist())


SIZES: dict[str, Callable[..., Any]] = {
    "Cast": _sizes_cast,
    "Concat": lambda node, *arrays: np.concatenate(arrays, node.attribute("axis", 0)),
    "Div": _sizes_divide,
    "Equal": _sizes_equal,
    "Gather": _sizes_gather,
    "Identity": lambda node, x: x,
    "Mul": _sizes_multiply,
    "ReduceProd": _sizes_product,
    "Reshape": _sizes_reshape,
    "Slice": _sizes_slice,
    "Squeeze": _sizes_squeeze,
    "Unsqueeze": _sizes_unsqueeze,
    "Where": lambda node, condition, x, y: np.where(condition, x, y),
}
"""Operators on sizes among which is the number of images."""
