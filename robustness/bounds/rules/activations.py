"""Rules for activations."""

import numpy as np
import tensorflow as tf

from robustness.bounds import activations, curves, linear
from robustness.bounds.layers import Layer, Parameter
from robustness.bounds.rules.node import Node, scaled

CURVES = {
    "Sigmoid": curves.SIGMOID,
    "Tanh": curves.TANH,
    "Softsign": curves.SOFTSIGN,
    "Softplus": curves.SOFTPLUS,
    "Elu": curves.ELU,
    "Selu": curves.SELU,
}


def relu(node: Node) -> list[Layer]:
    return [activations.Relu(node.name, node.places)]


def leaky_relu(node: Node) -> list[Layer]:
    """alpha x + (1 - alpha) relu(x)."""
    alpha = node.op.get_attr("alpha")
    node.expect(0 <= alpha <= 1)
    return [
        activations.Relu(node.name, node.places),
        scaled(node, 1.0 - alpha, node.place),
        scaled(node, alpha, node.places[0]),
        linear.Sum(node.name, [node.place + 1, node.place + 2], 1.0),
    ]


def relu6(node: Node) -> list[Layer]:
    relu, six = activations.Relu(node.name, node.places), lambda: tf.constant(6.0)
    return [relu, *_smaller(node, node.place, six, node.place + 1)]


def extremum(node: Node) -> list[Layer]:
    """The larger or the smaller of an operand and a parameter."""
    node.expect(len(node.places) == 1)
    _, other = node.sides()
    bound = node.graph.parameter(other)
    node.expect(bool(np.isfinite(bound()).all()))
    (operand,) = node.places
    if node.op.type == "Minimum":
        return _smaller(node, operand, bound, node.place)
    constant = tf.get_static_value(other)  # a variable may be 0 only now
    if constant is not None and not np.any(constant):
        return relu(node)
    return [
        linear.Shift(node.name, [operand], lambda: -bound()),
        activations.Relu(node.name, [node.place]),
        linear.Shift(node.name, [node.place + 1], bound),
    ]


def _smaller(node: Node, operand: int, bound: Parameter, place: int) -> list[Layer]:
    """min(operand, bound) = bound - relu(bound - operand), the first layer at a place."""
    return [
        scaled(node, -1.0, operand),
        linear.Shift(node.name, [place], bound),
        activations.Relu(node.name, [place + 1]),
        scaled(node, -1.0, place + 2),
        linear.Shift(node.name, [place + 3], bound),
    ]


def smooth(node: Node) -> list[Layer]:
    return [activations.Smooth(node.name, node.places, CURVES[node.op.type])]
