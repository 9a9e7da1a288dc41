"""ONNX's operators over axes: softmax, reductions, normalisations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from trainer.models.onnx_reader.operations import OPERATORS, operator
from trainer.models.onnx_reader.values import Constant, Node, Operand, Value, product


@operator("Softmax", "LogSoftmax")
def softmax(node: Node, x: Value) -> Value:
    function = tf.nn.softmax if node.operator == "Softmax" else tf.nn.log_softmax
    old = node.opset < 13
    axis = node.axis_within_images(node.attribute("axis", 1 if old else -1), x)
    nonnegative = node.operator == "Softmax"
    if not old or axis == x.rank - 1:
        return x.like(function(x.tensor, axis=x.stored_axis(axis)), nonnegative)
    # before opset 13 over that axis and all behind it
    if x.images is not None and x.images.axis >= axis:
        raise node.refusal("expected every image to be computed by itself")
    tensor = x.in_onnx_order()
    sizes, behind = tensor.shape[:axis], product(tensor.shape[axis:])
    rows = tf.reshape(tensor, [*(-1 if s is None else s for s in sizes), behind])
    return Value(tf.reshape(function(rows), tf.shape(tensor)), x.images, False, nonnegative)


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2")
def reduce(node: Node, x: Value, given: Operand | None = None) -> Value:
    function = REDUCTIONS[node.operator]
    axes = node.integers("axes", given)
    keep, unless_given = node.attribute("keepdims", 1), node.attribute("noop_with_empty_axes", 0)
    if not axes:
        if unless_given:
            return x
        axes = list(range(x.rank))
    axes = [node.axis_within_images(axis, x) for axis in axes]
    stays = keep or 1 in axes or {2, 3} <= set(axes)  # what is left is in ONNX's order
    value = x if stays else Value(x.in_onnx_order(), x.images)
    stored = sorted(value.stored_axis(axis) for axis in axes)
    result = function(value.tensor, axis=stored, keepdims=bool(keep))
    if keep:
        return value.like(result)
    images = value.images
    if images is not None:
        before = sum(axis < images.axis for axis in axes)
        images = replace(images, axis=images.axis - before)
    return Value(result, images)


REDUCTIONS: dict[str, Any] = {
    "ReduceMean": tf.reduce_mean,
    "ReduceSum": tf.reduce_sum,
    "ReduceMax": tf.reduce_max,
    "ReduceMin": tf.reduce_min,
    "ReduceL2": lambda x, axis, keepdims: tf.sqrt(tf.reduce_sum(tf.square(x), axis, keepdims)),
}


@operator("LayerNormalization")
def layer_normalization(
    node: Node, x: Value, scale: Operand, offset: Operand | None = None
) -> Value:
    first = node.axis_within_images(node.attribute("axis", -1), x)
    epsilon = node.attribute("epsilon", 1e-5)
    node.attribute("stash_type", 1)
    axes = [node.axis_within_images(axis, x) for axis in range(first, x.rank)]
    result = x.like(_normalised(x.tensor, [x.stored_axis(axis) for axis in axes], epsilon))
    result = OPERATORS["Mul"](node, result, scale)  # type: ignore[assignment]
    return result if offset is None else OPERATORS["Add"](node, result, offset)  # type: ignore[return-value]


def _normalised(tensor: tf.Tensor, axes: Sequence[int], epsilon: float) -> tf.Tensor:
    wide = tf.cast(tensor, tf.float32) if tensor.dtype.size < 4 else tensor  # as stash_type 1
    mean = tf.reduce_mean(wide, axes, keepdims=True)
    centred = wide - mean
    variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
    return tf.cast(centred * tf.math.rsqrt(variance + epsilon), tensor.dtype)


@operator("InstanceNormalization")
def instance_normalization(node: Node, x: Value, scale: Operand, offset: Operand) -> Value:
    epsilon = node.attribute("epsilon", 1e-5)
    axes = [node.axis_within_images(axis, x) for axis in range(2, x.rank)]
    result = x.like(_normalised(x.tensor, [x.stored_axis(axis) for axis in axes], epsilon))
    return _by_channel(node, result, scale, offset)


def _by_channel(node: Node, value: Value, scale: Operand, offset: Operand) -> Value:
    """A factor and an offset a channel, which is ONNX's axis 1."""
    if value.images is not None and value.images.axis != 0:
        raise node.refusal(f"expected images along axis 0, got axis {value.images.axis}")
    for name, operand in (("Mul", scale), ("Add", offset)):
        given = node.constant(operand, "scale and offset")
        spread = given.array.reshape(-1, *[1] * (value.rank - 2))
        factor = given.derived(spread, "channels", value.rank)
        value = OPERATORS[name](node, value, factor)  # type: ignore[assignment]
    return value


@operator("GroupNormalization")
def group_normalization(node: Node, x: Value, scale: Operand, offset: Operand) -> Value:
    groups, epsilon = node.attribute("num_groups", 0), node.attribute("epsilon", 1e-5)
    node.attribute("stash_type", 1)
    if node.opset < 21:
        raise node.refusal("expected opset 21, which defines it by channel")
    channels = x.shape[1]
    if groups <= 0 or channels is None or channels % groups:
        raise node.refusal(f"expected groups that divide {channels} channels, got {groups}")
    image = node.image(x)
    _, height, width, _ = image.tensor.shape
    grouped = tf.reshape(image.tensor, [-1, height, width, groups, channels // groups])
    normal = _normalised(grouped, [1, 2, 4], epsilon)
    result = image.like(tf.reshape(normal, [-1, height, width, channels]))
    return _by_channel(node, result, scale, offset)


@operator("BatchNormalization")
def batch_normalization(
    node: Node, x: Value, scale: Operand, offset: Operand, mean: Operand, variance: Operand
) -> Value:
    epsilon = node.attribute("epsilon", 1e-5)
    node.attribute("momentum", 0.9)
    node.expect_attribute("training_mode", 0)
    node.expect_attribute("spatial", 1)
    if len(node.outputs) > 1:
        raise node.refusal("expected a network exported for inference (model.eval())")
    statistics = [node.constant(o, "its statistics").array for o in (scale, offset, mean, variance)]
    if x.rank == 4 and all(array.dtype == np.float32 for array in statistics):
        image = node.image(x)
        names = ("scale", "offset", "mean", "variance")
        tensors = [node.tensor(operand) for operand in (scale, offset, mean, variance)]
        result = tf.raw_ops.FusedBatchNormV3(
            x=image.tensor,
            **dict(zip(names, map(tf.convert_to_tensor, tensors), strict=True)),
            epsilon=epsilon,
            is_training=False,
        )[0]
        return image.like(result)
    wide = [array.astype(np.float64) for array in statistics]
    factor = wide[0] / np.sqrt(wide[3] + epsilon)
    shift = wide[1] - wide[2] * factor
    dtype = x.tensor.dtype.as_numpy_dtype
    factors = Constant(factor.astype(dtype), (node.outputs, "factor"))
    return _by_channel(node, x, factors, Constant(shift.astype(dtype), (node.outputs, "shift")))
