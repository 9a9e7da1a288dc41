"""ONNX's operators on shapes and places: reshaping, transposing, joining, cutting."""

import math
from collections.abc import Sequence
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
    Value,
)


def size_for_one(size: Any) -> int:
    """A size for one image."""
    return size.factor if isinstance(size, ImageCount) else int(size)


def _volume(sizes: Sequence[Any]) -> int:
    return math.prod(map(size_for_one, sizes))


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
            f"expected every image of {value.shape} to stay together, got the shape {shown(target)}"
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


def shown(target: Sequence[Any]) -> list[Any]:
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
        raise node.refusal(f"expected images along one axis, got the shape {shown(target)}")
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


def sizes_of(node: Node, operand: Operand) -> list[Any]:
    """Sizes, of which one may be the number of images."""
    if isinstance(operand, Constant) and operand.counts_images:
        return list(operand.array.reshape(-1))
    return [int(size) for size in node.constant(operand, "the shape").array.reshape(-1)]


@operator("Reshape")
def reshape(node: Node, x: Value, shape: Operand) -> Value:
    target, kept = sizes_of(node, shape), node.attribute("allowzero", 0)
    sizes = only_value(node, x).sizes()
    if not kept:
        if any(size == 0 for size in target[len(sizes) :]):
            raise node.refusal(f"expected sizes to keep, got the shape {shown(target)}")
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
    return spread(node.tensor(operand), shape, like.images)


def spread(tensor: tf.Tensor, sizes: list[Any], images: Images) -> Value:
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
