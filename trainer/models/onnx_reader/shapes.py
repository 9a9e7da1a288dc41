"""ONNX's operators on shapes and places: reshaping, transposing, joining, cutting; and integer
arithmetic on sizes, among which the number of images stays a symbol."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import only_value, operator
from trainer.models.onnx_reader.values import (
    TO_CHANNELS_FIRST,
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


def _factor(size: Any) -> int:
    """A size for one image."""
    return size.factor if isinstance(size, ImageCount) else int(size)


def _volume(sizes: Sequence[Any]) -> int:
    return math.prod(map(_factor, sizes))


def reshaped(node: Node, value: Value, target: list[Any]) -> Value:
    """The value in another shape of at most one -1; what belongs to an image stays together.

    Raises:
        DataError: an image would be taken apart, or the images cannot be found in the new shape.
    """
    sizes = value.sizes()
    if value.images is None:
        return Value(tf.reshape(value.in_onnx_order(), target), None)
    target = _resolved(node, value.images, sizes, target)
    axis = next(axis for axis, size in enumerate(target) if isinstance(size, ImageCount))
    images = _places(value.images, sizes, target, axis, target[axis].factor)
    if images is None or _volume(sizes) != _volume(target):
        raise node.refusal(
            f"expected every image of {value.shape} to stay together, got the shape "
            f"{_shown(target)}"
        )
    stored = [-1 if isinstance(size, ImageCount) else size for size in target]
    tensor = value.tensor
    if value.channels_last and not _same_order(tensor):
        tensor = value.in_onnx_order()
    return Value(tf.reshape(tensor, stored), images, nonnegative=value.nonnegative)


def _same_order(tensor: tf.Tensor) -> bool:
    """Whether [n, h, w, c] and [n, c, h, w] have the same order of elements."""
    _, height, width, channels = tensor.shape
    return channels == 1 or height * width == 1


def _shown(target: Sequence[Any]) -> list[Any]:
    return [None if isinstance(size, ImageCount) else size for size in target]


def _places(
    images: Images, sizes: list[Any], target: list[Any], axis: int, places: int
) -> Images | None:
    """How images lie along an axis of a new shape; None if that axis cannot be theirs."""
    before = _volume(sizes[: images.axis]) * images.outer
    behind = _volume(target[:axis])
    outer = before // behind if behind else 0
    if not outer or before % behind or places % outer:
        return None
    return Images(axis, places // outer, outer)


def _resolved(node: Node, images: Images, sizes: list[Any], target: list[Any]) -> list[Any]:
    """A new shape without -1, in which one size is that of the images."""
    counted = [axis for axis, size in enumerate(target) if isinstance(size, ImageCount)]
    if len(counted) > 1 or target.count(-1) > 1:
        raise node.refusal(f"expected images along one axis, got the shape {_shown(target)}")
    rest = _volume(sizes) // (_volume([size for size in target if size != -1]) or 1)
    if counted:
        return [rest if size == -1 else size for size in target]
    if node.file_images is not None:
        return _of_fixed_file(node, images, sizes, target)
    if -1 not in target:
        raise node.refusal(
            f"expected a shape for any number of images, got {target}, although the input of the "
            "file takes any number"
        )
    return [ImageCount(rest, sizes[images.axis].of) if size == -1 else size for size in target]


def _of_fixed_file(node: Node, images: Images, sizes: list[Any], target: list[Any]) -> list[Any]:
    """A new shape of a file that was exported for a fixed number of images, which is in it.

    Several axes may be read as that of the images. Whichever is taken, an answer is right, as no
    operator computes along it: where one has to, the file is refused. So the likeliest is taken:
    not the last, where features are, and the one with the fewest places an image.
    """
    number = node.file_images or 1
    known = math.prod(size for size in target if size != -1) or 1
    full = [_volume(sizes) * number // known if size == -1 else size for size in target]
    fitting = [
        (axis == len(full) - 1 > 0, taken.outer, taken.factor, axis)
        for axis, size in enumerate(full)
        if size > 0 and size % number == 0
        for taken in [_places(images, sizes, full, axis, size // number)]
        if taken
    ]
    if not fitting:
        raise node.refusal(f"expected {number} images in the shape {target}, as in the input")
    axis = min(fitting)[-1]
    full[axis] = ImageCount(full[axis] // number, sizes[images.axis].of)
    return full


def _target(node: Node, operand: Operand) -> list[Any]:
    """Sizes, of which one may be the number of images."""
    if isinstance(operand, Constant) and operand.counts_images:
        return list(operand.array.reshape(-1))
    return [int(size) for size in node.constant(operand, "the shape").array.reshape(-1)]


@operator("Reshape")
def reshape(node: Node, x: Value, shape: Operand) -> Value:
    target, kept = _target(node, shape), node.attribute("allowzero", 0)
    sizes = only_value(node, x).sizes()
    if not kept:
        if any(size == 0 for size in target[len(sizes) :]):
            raise node.refusal(f"expected sizes to keep, got the shape {_shown(target)}")
        target = [sizes[axis] if size == 0 else size for axis, size in enumerate(target)]
    return reshaped(node, x, target)


@operator("Flatten")
def flatten(node: Node, x: Value) -> Value:
    sizes, axis = only_value(node, x).sizes(), node.attribute("axis", 1)
    axis = axis if axis == x.rank else node.axis(axis, x.rank)
    return reshaped(node, x, [math.prod(sizes[:axis]), math.prod(sizes[axis:])])


@operator("Squeeze")
def squeeze(node: Node, x: Value, given: Operand | None = None) -> Value:
    axes, sizes = node.integers("axes", given), only_value(node, x).sizes()
    if axes is None:
        if x.images is not None and node.file_images == 1:
            raise node.refusal("expected axes, got none, although there is one image only")
        axes = [axis for axis, size in enumerate(sizes) if size == 1]
    axes = [node.axis_within_images(axis, x) for axis in axes]
    if any(sizes[axis] != 1 for axis in axes):
        raise node.refusal(f"expected size 1 along {axes}, got {x.shape}")
    return reshaped(node, x, [size for axis, size in enumerate(sizes) if axis not in axes])


@operator("Unsqueeze")
def unsqueeze(node: Node, x: Value, given: Operand | None = None) -> Value:
    axes, sizes = node.integers("axes", given) or [], only_value(node, x).sizes()
    rank = len(sizes) + len(axes)
    places = {node.axis(axis, rank) for axis in axes}
    rest = iter(sizes)
    return reshaped(node, x, [1 if axis in places else next(rest) for axis in range(rank)])


@operator("Transpose")
def transpose(node: Node, x: Value) -> Value:
    order = node.attribute("perm", list(range(only_value(node, x).rank))[::-1])
    if sorted(order) != list(range(x.rank)):
        raise node.refusal(f"expected an order of {x.rank} axes, got {order}")
    images = x.images and replace(x.images, axis=order.index(x.images.axis))
    stored = [x.stored_axis(axis) for axis in order]
    if stored == sorted(stored):
        return Value(x.tensor, images, nonnegative=x.nonnegative)
    at_front = images is None or images.axis == 0
    if x.rank == 4 and at_front and [stored[axis] for axis in (0, 2, 3, 1)] == [0, 1, 2, 3]:
        return Value(x.tensor, images, True, x.nonnegative)
    return Value(tf.transpose(x.tensor, stored), images, nonnegative=x.nonnegative)


@operator("Concat")
def concat(node: Node, *operands: Operand) -> Value:
    first = next(operand for operand in operands if isinstance(operand, Value))
    axis = node.axis_within_images(node.attribute("axis", 0), first)
    values = [_for_all_images(node, operand, first) for operand in operands]
    if any((v.images, v.rank) != (first.images, first.rank) for v in values):
        raise node.refusal("expected the images of all operands along the same axis")
    nonnegative = all(value.nonnegative for value in values)
    if any(value.channels_last for value in values):
        tensors = [value.with_channels_last() for value in values]
        return Value(tf.concat(tensors, TO_CHANNELS_FIRST[axis]), first.images, True, nonnegative)
    tensors = [value.tensor for value in values]
    return Value(tf.concat(tensors, axis), first.images, False, nonnegative)


def _for_all_images(node: Node, operand: Operand, like: Value) -> Value:
    """A constant of a file that was exported for a fixed number of images, for any number."""
    if isinstance(operand, Value) or like.images is None:
        return operand if isinstance(operand, Value) else Value(node.tensor(operand), None)
    shape, axis = list(operand.array.shape), like.images.axis
    if len(shape) != like.rank or shape[axis] != 1 or like.images.places != 1:
        raise node.refusal(f"expected the same constant for every image, got shape {shape}")
    if node.file_images != 1:
        raise node.refusal("expected a constant for any number of images, got one for one image")
    shape[axis] = like.image_count()
    return _spread(node.tensor(operand), shape, like.images)


def _spread(tensor: tf.Tensor, sizes: list[Any], images: Images) -> Value:
    """A constant, repeated for every image, with the sizes that are known kept known."""
    repeated = tf.broadcast_to(tensor, tf.stack([tf.cast(size, tf.int32) for size in sizes]))
    known = [None if axis == images.axis else size for axis, size in enumerate(sizes)]
    return Value(tf.ensure_shape(repeated, known), images)


@operator("Split")
def split(node: Node, x: Value, given: Operand | None = None) -> list[Value]:
    axis = node.axis_within_images(node.attribute("axis", 0), only_value(node, x))
    parts, size = node.integers("split", given), x.shape[axis]
    count = node.attribute("num_outputs", len(node.outputs))
    assert size is not None
    if parts is None:
        largest = -(-size // count)
        parts = [largest] * (count - 1) + [size - largest * (count - 1)]
    if sum(parts) != size or min(parts) < 0 or len(parts) != len(node.outputs):
        raise node.refusal(f"expected {len(node.outputs)} parts of {size} together, got {parts}")
    return [x.like(t, x.nonnegative) for t in tf.split(x.tensor, parts, x.stored_axis(axis))]


@operator("Slice")
def cut(node: Node, x: Value, *given: Operand | None) -> Value:
    names, rank = ("starts", "ends", "axes", "steps"), only_value(node, x).rank
    operands = [*given, *[None] * 4][:4]
    starts, ends, axes, steps = (
        node.integers(name, operand) for name, operand in zip(names, operands, strict=True)
    )
    if starts is None or ends is None:
        raise node.refusal("expected starts and ends, got none")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    slices = [slice(None)] * rank
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = node.axis(axis, rank)
        size = x.shape[axis]
        if size is None:
            if (start, step) != (0, 1) or end < np.iinfo(np.int32).max:
                node.axis_within_images(axis, x)
            continue
        begin, stop, step = slice(start, end, step).indices(size)
        slices[x.stored_axis(axis)] = slice(begin, None if stop < 0 else stop, step)
    return x.like(x.tensor[tuple(slices)], x.nonnegative)


@operator("Gather")
def gather(node: Node, x: Value, indices: Operand) -> Value:
    axis = node.axis_within_images(node.attribute("axis", 0), only_value(node, x))
    array, size = node.constant(indices, "the indices").array, x.shape[axis]
    if array.size and not -size <= array.min() <= array.max() < size:  # type: ignore[operator]
        raise node.refusal(
            f"expected indices into {size} elements, got {array.min()} to {array.max()}"
        )
    value = x if array.ndim == 1 else Value(x.in_onnx_order(), x.images)
    result = tf.gather(value.tensor, array % size, axis=value.stored_axis(axis))
    images = value.images
    if images is not None and axis < images.axis:
        images = replace(images, axis=images.axis + array.ndim - 1)
    return Value(result, images, value.channels_last, x.nonnegative)


@operator("Pad")
def pad(
    node: Node,
    x: Value,
    pads: Operand | None = None,
    fill: Operand | None = None,
    given_axes: Operand | None = None,
) -> Value:
    rank, mode = only_value(node, x).rank, node.expect_attribute("mode", "constant", "reflect")
    numbers, constant = node.integers("pads", pads), node.attribute("value", 0.0)
    axes = list(range(rank)) if given_axes is None else node.integers("axes", given_axes)
    if fill is not None and node.constant(fill, "the filling").array.size:
        constant = node.constant(fill, "the filling").array.item()
    assert axes is not None
    if numbers is None or len(numbers) != 2 * len(axes) or min(numbers, default=0) < 0:
        raise node.refusal(f"expected two pads from 0 on for each axis, got {numbers}")
    around = [[0, 0] for _ in range(rank)]
    for place, axis in enumerate(axes):
        pair = [numbers[place], numbers[place + len(axes)]]
        if any(pair):
            axis = node.axis_within_images(axis, x)
            if max(pair) > 4 * x.shape[axis] + 64:  # type: ignore[operator]
                raise node.refusal(f"expected pads of the size of the images, got {numbers}")
            around[x.stored_axis(axis)] = pair
    if mode == "reflect":
        return x.like(tf.pad(x.tensor, around, "REFLECT"), x.nonnegative)
    return x.like(
        tf.pad(x.tensor, around, constant_values=constant), x.nonnegative and constant >= 0
    )


# Sizes.


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
    target = _target(node, shape)
    sizes = x.sizes() if isinstance(x, Value) else list(x.array.shape)
    rank = max(len(sizes), len(target))
    sizes, target = ([*[1] * (rank - len(s)), *s] for s in (sizes, target))
    full = [new if old == 1 else old for old, new in zip(sizes, target, strict=True)]
    pairs = zip(full, target, strict=True)
    if any(new not in (1, size) and not _images_of_file(node, size, new) for size, new in pairs):
        raise node.refusal(f"expected a shape that {_shown(sizes)} fits, got {_shown(target)}")
    counted = [axis for axis, size in enumerate(full) if isinstance(size, ImageCount)]
    tensor = node.tensor(x)
    if not counted:
        return Value(tf.broadcast_to(tensor, full), None)
    if len(counted) > 1:
        raise node.refusal("expected images along one axis")
    (axis,) = counted
    images = Images(axis, full[axis].factor)
    return _spread(tensor, [s.tensor() if isinstance(s, ImageCount) else s for s in full], images)


def _images_of_file(node: Node, size: Any, new: Any) -> bool:
    """Whether a size is the number of images, written out."""
    if not isinstance(size, ImageCount) or node.file_images is None:
        return False
    return new == size.factor * node.file_images


@operator("ConstantOfShape")
def constant_of_shape(node: Node, shape: Operand) -> Result:
    fill = np.asarray(node.attribute("value", np.zeros(1, np.float32))).reshape(())
    sizes = _target(node, shape)
    if math.prod(map(_factor, sizes)) > LARGEST:
        raise node.refusal(f"expected at most {LARGEST} elements, got {_shown(sizes)}")
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
