"""ONNX's operators as TensorFlow operations: the table, and those that compute numbers.

Where several operations would do, those are taken that the bounds know
(`robustness.bounds.trace.RULES`). Operators on images are in `images`, on shapes in
`shapes`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

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
    product,
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


# Element by element, of one operand.


def _elementwise(function: Callable[[tf.Tensor], tf.Tensor], nonnegative: bool = False) -> Operator:
    return lambda node, x: only_value(node, x).like(function(x.tensor), nonnegative)


OPERATORS |= {
    "Abs": _elementwise(tf.abs, nonnegative=True),
    "Erf": _elementwise(tf.math.erf),
    "Ceil": _elementwise(tf.math.ceil),
    "Exp": _elementwise(tf.exp, nonnegative=True),
    "Floor": _elementwise(tf.floor),
    "Identity": lambda node, x: x,
    "Log": _elementwise(tf.math.log),
    "Mish": _elementwise(lambda x: x * tf.tanh(tf.nn.softplus(x))),
    "Neg": _elementwise(lambda x: x * tf.constant(-1, x.dtype)),
    "Reciprocal": _elementwise(lambda x: 1 / x),
    "Relu": _elementwise(tf.nn.relu, nonnegative=True),
    "Sigmoid": _elementwise(tf.sigmoid, nonnegative=True),
    "Softplus": _elementwise(tf.nn.softplus, nonnegative=True),
    "Softsign": _elementwise(tf.nn.softsign),
    "Sqrt": _elementwise(tf.sqrt, nonnegative=True),
    "Tanh": _elementwise(tf.tanh),
}


@operator("LeakyRelu")
def leaky_relu(node: Node, x: Value) -> Value:
    return x.like(tf.nn.leaky_relu(x.tensor, node.attribute("alpha", 0.01)))


@operator("Elu")
def elu(node: Node, x: Value) -> Value:
    return x.like(_elu(x.tensor, node.attribute("alpha", 1.0)))


def _elu(x: tf.Tensor, alpha: float) -> tf.Tensor:
    if alpha == 1.0:
        return tf.nn.elu(x)
    return tf.nn.relu(x) + alpha * tf.nn.elu(-tf.nn.relu(-x))


@operator("Selu")
def selu(node: Node, x: Value) -> Value:
    alpha = node.attribute("alpha", 1.67326319217681884765625)
    return x.like(node.attribute("gamma", 1.05070102214813232421875) * _elu(x.tensor, alpha))


@operator("Celu")
def celu(node: Node, x: Value) -> Value:
    alpha = node.attribute("alpha", 1.0)
    tensor = x.tensor
    return x.like(tf.nn.relu(tensor) + alpha * tf.nn.elu(-tf.nn.relu(-tensor) / alpha))


@operator("HardSigmoid")
def hard_sigmoid(node: Node, x: Value) -> Value:
    line = node.attribute("alpha", 0.2) * x.tensor + node.attribute("beta", 0.5)
    return x.like(tf.clip_by_value(line, 0, 1), nonnegative=True)


@operator("HardSwish")
def hard_swish(node: Node, x: Value) -> Value:
    return x.like(x.tensor * tf.nn.relu6(x.tensor + 3) / 6)


@operator("Swish")
def swish(node: Node, x: Value) -> Value:
    return x.like(x.tensor * tf.sigmoid(node.attribute("alpha", 1.0) * x.tensor))


@operator("Gelu")
def gelu(node: Node, x: Value) -> Value:
    approximate = node.expect_attribute("approximate", "none", "tanh") == "tanh"
    return x.like(tf.nn.gelu(x.tensor, approximate))


@operator("Clip")
def clip(node: Node, x: Value, low: Operand | None = None, high: Operand | None = None) -> Value:
    lowest, highest = node.attribute("min", None), node.attribute("max", None)
    lowest = lowest if low is None else node.constant(low, "min").array.item()
    highest = highest if high is None else node.constant(high, "max").array.item()
    if lowest == 0 and highest in (None, 6):
        return x.like((tf.nn.relu if highest is None else tf.nn.relu6)(x.tensor), nonnegative=True)
    tensor = (
        x.tensor if lowest is None else tf.maximum(x.tensor, tf.constant(lowest, x.tensor.dtype))
    )
    if highest is not None:
        tensor = tf.minimum(tensor, tf.constant(highest, x.tensor.dtype))
    return x.like(tensor, lowest is not None and lowest >= 0 and (highest is None or highest >= 0))


@operator("Cast")
def cast(node: Node, x: Value) -> Value:
    from onnx import TensorProto, helper

    to = node.attribute("to", TensorProto.FLOAT)
    node.attribute("saturate", 1)  # of 8-bit floats, which are refused
    node.attribute("round_mode", "up")
    known = {getattr(TensorProto, name) for name in CASTS}
    if to not in known:
        raise node.refusal(f"expected a cast to {', '.join(CASTS)}, got {_type_name(to)}")
    return x.like(tf.cast(x.tensor, helper.tensor_dtype_to_np_dtype(to)), x.nonnegative)


CASTS = (
    *("FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16", "BOOL"),
    *("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"),
)


def _type_name(number: int) -> str:
    from onnx import TensorProto

    return TensorProto.DataType.Name(number)


@operator("Dropout")
def dropout(
    node: Node, x: Value, _: Operand | None = None, training: Operand | None = None
) -> Result:
    """The identity, as at inference."""
    node.attribute("ratio", 0.5), node.attribute("seed", 0)
    if training is not None and node.constant(training, "training_mode").array.item():
        raise node.refusal("expected a network exported for inference (model.eval())")
    return x


# Element by element, of several operands.


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
    _expect_no_images(node, operands, rank, images)
    if rank == 4 and any(value.channels_last for value in values):
        tensors = [_broadcast_channels_last(node, operand) for operand in operands]
        return tensors, lambda tensor: Value(tensor, images, channels_last=True)
    return [node.tensor(operand) for operand in operands], lambda tensor: Value(tensor, images)


def _expect_no_images(
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


@operator("PRelu")
def parametric_relu(node: Node, x: Value, slope: Operand) -> Value:
    array = node.constant(slope, "the slope").array
    (tensor, factor), value = aligned(node, [only_value(node, x), slope])
    if array.size == 1 and tensor.dtype == tf.float32:
        return value(tf.nn.leaky_relu(tensor, array.item()))
    minus = tf.constant(-1, tensor.dtype)
    return value(tf.nn.relu(tensor) - factor * tf.nn.relu(tensor * minus))


# Sums of products.


@operator("Gemm")
def gemm(node: Node, x: Operand, weight: Operand, bias: Operand | None = None) -> Value:
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    turned = node.attribute("transB", 0)
    node.expect_attribute("transA", 0)
    rows = only_value(node, x)
    array = node.constant(weight, "the weight").array
    if rows.rank != 2 or array.ndim != 2:
        raise node.refusal(f"expected two matrices, got {rows.shape} and {array.shape}")
    _expect_rows(node, rows)
    kernel = node.tensor(
        weight, ("rows", turned, alpha), lambda w: _scaled(w.T if turned else w, alpha)
    )
    result = tf.matmul(rows.in_onnx_order(), kernel)
    if bias is None:
        return Value(result, rows.images)
    given = node.constant(bias, "the bias")
    offset = given.derived(_scaled(given.array, beta), "times", beta)
    if offset.array.shape[-1:] == (result.shape[-1],) and offset.array.size == result.shape[-1]:
        row = node.tensor(offset, "row", lambda b: b.reshape(-1))
        return Value(tf.nn.bias_add(result, tf.convert_to_tensor(row)), rows.images)
    tensors, value = aligned(node, [Value(result, rows.images), offset])
    return value(tf.add(*tensors))


def _scaled(array: np.ndarray, factor: float) -> np.ndarray:
    return array if factor == 1.0 else (array * factor).astype(array.dtype)


def _expect_rows(node: Node, rows: Value) -> None:
    if rows.images is not None and rows.images.axis == rows.rank - 1:
        raise node.refusal("expected every image to be computed by itself, got a sum over images")


@operator("MatMul")
def matmul(node: Node, x: Operand, y: Operand) -> Value:
    ranks = [o.rank if isinstance(o, Value) else o.array.ndim for o in (x, y)]
    if min(ranks) < 2:
        raise node.refusal(f"expected operands of two axes or more, got {ranks[0]} and {ranks[1]}")
    rank = max(ranks)
    images: Images | None = None
    for operand, own_rank, summed in ((x, ranks[0], 1), (y, ranks[1], 2)):
        if not isinstance(operand, Value) or operand.images is None:
            continue
        own = replace(operand.images, axis=operand.images.axis + rank - own_rank)
        if own.axis == rank - summed:
            raise node.refusal("expected every image to be computed by itself, got a sum over them")
        if images is not None and (images != own or own.axis >= rank - 2):
            raise node.refusal("expected the images of both operands along the same axis")
        images = own
    if images is not None and images.axis < rank - 2:
        _expect_no_images(node, [x, y], rank, images)
    return Value(tf.matmul(node.tensor(x), node.tensor(y)), images)


# Over axes.


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
