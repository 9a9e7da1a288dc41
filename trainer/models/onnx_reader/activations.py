"""ONNX's operators on one operand, element by element."""

from collections.abc import Callable

import tensorflow as tf

from trainer.models.onnx_reader.operations import OPERATORS, Operator, aligned, only_value, operator
from trainer.models.onnx_reader.values import Node, Operand, Result, Value


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


@operator("PRelu")
def parametric_relu(node: Node, x: Value, slope: Operand) -> Value:
    array = node.constant(slope, "the slope").array
    (tensor, factor), value = aligned(node, [only_value(node, x), slope])
    if array.size == 1 and tensor.dtype == tf.float32:
        return value(tf.nn.leaky_relu(tensor, array.item()))
    minus = tf.constant(-1, tensor.dtype)
    return value(tf.nn.relu(tensor) - factor * tf.nn.relu(tensor * minus))
