"""Rules for operations that weigh and sum, and for pooling."""

import math

import tensorflow as tf

from robustness.bounds import linear, moves, pooling
from robustness.bounds.layers import Layer, Parameter
from robustness.bounds.rules.node import Node, scaled


def convolution(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.op.get_attr("data_format") == b"NHWC")
    kernel, shape = node.kernel(1)
    channels = node.op.inputs[0].shape[3]
    node.expect(channels is not None and channels % shape[2] == 0)
    strides, dilations = node.op.get_attr("strides"), node.op.get_attr("dilations")
    groups = channels // shape[2]
    how = (strides, node.padding(), dilations, groups)
    return [linear.Convolution(node.name, node.places, kernel, shape, *how)]


def depthwise(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.op.get_attr("data_format") == b"NHWC")
    kernel, shape = node.kernel(1)
    how = (node.op.get_attr("strides"), node.padding(), node.op.get_attr("dilations"))
    return [linear.Depthwise(node.name, node.places, kernel, shape, *how)]


def transposed_convolution(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.graph.from_image(node.op.inputs[2]))
    node.expect(node.op.get_attr("data_format") == b"NHWC")
    node.expect(set(node.op.get_attr("dilations")) == {1})
    kernel, shape = node.kernel(1)
    node.expect(shape[3] == node.op.inputs[2].shape[3])
    how = (node.op.get_attr("strides"), node.padding())
    return [linear.TransposedConvolution(node.name, node.places, kernel, shape, node.output, *how)]


def dense(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.graph.from_image(node.op.inputs[0]))
    first, second = "transpose_a", "transpose_b"
    if node.op.type != "MatMul":
        first, second = "adj_x", "adj_y"
    node.expect(not node.op.get_attr(first) and node.op.inputs[1].shape.rank == 2)
    kernel, shape = node.kernel(1)
    if node.op.get_attr(second):
        return [linear.Dense(node.name, node.places, lambda: tf.transpose(kernel()), shape[::-1])]
    return [linear.Dense(node.name, node.places, kernel, shape)]


def sum_of_two(node: Node) -> list[Layer]:
    sign = -1.0 if node.op.type == "Sub" else 1.0
    if node.op.type == "BiasAdd" and len(node.op.inputs[0].shape) != 2:
        node.expect(node.op.get_attr("data_format") == b"NHWC")
    if len(node.places) == 2:
        node.expect(node.op.inputs[0].shape[1:] == node.op.inputs[1].shape[1:])
        return [linear.Sum(node.name, node.places, sign)]
    data, other = node.sides()
    offset = node.graph.parameter(other)
    if sign < 0 and data is node.op.inputs[1]:  # parameter - operand
        return [scaled(node, -1.0, node.places[0]), linear.Shift(node.name, [node.place], offset)]
    signed: Parameter = (lambda: -offset()) if sign < 0 else offset
    return [linear.Shift(node.name, node.places, signed)]


def sum_of_many(node: Node) -> list[Layer]:
    node.expect(len(node.places) == len(node.op.inputs) > 1)
    first, *rest = node.places
    sums: list[Layer] = []
    for other in rest:
        sums.append(linear.Sum(node.name, [first, other], 1.0))
        first = node.place + len(sums) - 1
    return sums


def scale(node: Node) -> list[Layer]:
    divides = node.op.type == "RealDiv"
    node.expect(len(node.places) == 1)
    data, other = node.sides()
    node.expect(not divides or data is node.op.inputs[0])
    factor = node.graph.parameter(other)
    return [linear.Scale(node.name, node.places, (lambda: 1.0 / factor()) if divides else factor)]


def negate(node: Node) -> list[Layer]:
    return [scaled(node, -1.0, node.places[0])]


def batch_norm(node: Node) -> list[Layer]:
    node.expect(not node.op.get_attr("is_training"))
    node.expect(node.op.get_attr("data_format") == b"NHWC")
    scale, offset, mean, variance = (node.parameter(number) for number in range(1, 5))
    epsilon = node.op.get_attr("epsilon")
    return [
        linear.Shift(node.name, node.places, lambda: -mean()),
        linear.Scale(
            node.name, [node.place], lambda: scale() * tf.math.rsqrt(variance() + epsilon)
        ),
        linear.Shift(node.name, [node.place + 1], offset),
    ]


def pool(node: Node) -> list[Layer]:
    window, strides = node.op.get_attr("ksize"), node.op.get_attr("strides")
    padding = node.op.get_attr("padding").decode()
    node.expect(node.op.get_attr("data_format") == b"NHWC" and padding in ("SAME", "VALID"))
    # Not over images or channels.
    node.expect(window[0] == window[3] == strides[0] == strides[3] == 1)
    kind = pooling.MaxPool if node.op.type == "MaxPool" else linear.AveragePool
    return [kind(node.name, node.places, window, strides, padding)]


def _axes(node: Node) -> list[int]:
    """The axes of a reduction; never that of the batch."""
    rank = len(node.shape(0)) + 1
    axes = sorted(int(axis) % rank for axis in node.value(1).reshape(-1))
    node.expect(bool(axes) and axes[0] > 0 and len(node.places) == 1)
    return axes


def mean(node: Node) -> list[Layer]:
    axes, kind = _axes(node), linear.Mean if node.op.type == "Mean" else linear.Total
    count = math.prod(node.shape(0)[axis - 1] for axis in axes)
    return [kind(node.name, node.places, axes, node.op.get_attr("keep_dims"), count)]


def largest(node: Node) -> list[Layer]:
    node.expect(_axes(node) == [1, 2] and len(node.shape(0)) == 3)
    pool = pooling.GlobalMaxPool(node.name, node.places, node.shape(0)[:2])
    return [pool, moves.Reshape(node.name, [node.place], node.output)]
