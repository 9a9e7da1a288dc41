"""Operations that are one function together, and bounded as one: swish, GELU and their kin, which
are written as products, and convolutions with holes, which are written as detours through the
batch."""

import math
from collections.abc import Hashable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from robustness.bounds import activations, curves, linear, moves
from robustness.bounds.curves import GELU_CUBE, GELU_INNER, Curve
from robustness.bounds.graph import PASS_ON, Graph, passed_on
from robustness.bounds.layers import Layer
from robustness.bounds.rounding import FEW
from robustness.bounds.rules import Node, Rule

Sum = dict[tuple[int, int], float]
"""Factors of the products x^i g^j, where g is the gate; without a gate j is 0."""

GATES = {"Sigmoid", "Tanh", "Erf", "Erfc"}


class Pattern(NamedTuple):
    """The operand of a function, and the rule for its layers."""

    operand: tf.Tensor
    rule: Rule


def find(tensor: tf.Tensor, graph: Graph) -> Pattern | None:
    """The pattern that ends in a tensor, where there is one."""
    if tensor.op.type == "BatchToSpaceND":
        return _with_holes(tensor, graph)
    if tensor.op.type != "Mul" or not all(map(graph.from_image, tensor.op.inputs)):
        return None
    for operand in _candidates(tensor, graph):
        known = _Reading(operand, graph).curve(tensor)
        if known is not None and operand.shape[1:] == tensor.shape[1:]:
            return Pattern(operand, _gated(*known))
    return None


def _candidates(product: tf.Tensor, graph: Graph) -> Iterator[tf.Tensor]:
    """What may be the x of a product: its factors, and what these are multiples of."""
    for factor in product.op.inputs:
        while True:
            factor = _source(factor)
            yield factor
            parts = [part for part in factor.op.inputs if graph.from_image(part)]
            if factor.op.type not in ("Mul", "RealDiv") or len(parts) != 1:
                break
            (factor,) = parts


def _source(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor that was passed on to here."""
    while tensor.op.type in PASS_ON:
        tensor = passed_on(tensor)
    return tensor


def _gated(curve: Curve, inner: float, outer: float) -> Rule:
    """outer * curve(inner * operand)."""

    def rule(node: Node) -> list[Layer]:
        (operand,), layers = node.places, []
        for factor in (inner, None, outer):
            layer: Layer = activations.Smooth(node.name, [operand], curve)
            if factor is not None:
                if abs(factor - 1.0) <= FEW:
                    continue
                layer = _scale(node.name, operand, factor)
            layers.append(layer)
            operand = node.place + len(layers) - 1
        return layers

    return rule


def _scale(name: str, operand: int, factor: float) -> Layer:
    return linear.Scale(name, [operand], lambda: tf.constant(factor, tf.float32))


class _Unreadable(Exception):
    """A tensor is no sum of products of x and one gate."""


class _Reading:
    """Reads a tensor as a formula in one operand x and in one gate, a function of x."""

    def __init__(self, x: tf.Tensor, graph: Graph) -> None:
        self._graph = graph
        self._gate: tuple[str, Sum] | None = None
        self._sums: dict[Hashable, Sum] = {x.ref(): {(1, 0): 1.0}}

    def curve(self, tensor: tf.Tensor) -> tuple[Curve, float, float] | None:
        """The curve that a tensor is, the factor of x in it, and that of its value."""
        try:
            formula = self._read(tensor)
        except _Unreadable:
            return None
        if self._gate is None:
            return None
        kind, argument = self._gate
        rate, factor = argument.get((1, 0), 0.0), formula.get((1, 1), 0.0)
        if not rate or not factor:
            return None
        plain = _same(argument, {(1, 0): rate})
        alone = _same(formula, {(1, 1): factor})
        shifted = _same(formula, {(1, 0): factor, (1, 1): factor})
        if kind == "Sigmoid" and plain and alone:
            return curves.SWISH, rate, factor / rate
        if kind == "Mish" and plain and alone:
            return curves.MISH, rate, factor / rate
        if kind == "Tanh" and plain and shifted:
            return curves.SWISH, 2.0 * rate, factor / rate
        if (kind == "Erf" and plain and shifted) or (kind == "Erfc" and plain and alone):
            inner = rate * math.sqrt(2.0) * (1.0 if kind == "Erf" else -1.0)
            return curves.GELU, inner, 2.0 * factor / inner
        inner = rate / GELU_INNER
        cubed = {(1, 0): rate, (3, 0): rate * GELU_CUBE * inner**2}
        if kind == "Tanh" and _same(argument, cubed) and shifted:
            return curves.GELU_TANH, inner, 2.0 * factor / inner
        return None

    def _read(self, tensor: tf.Tensor) -> Sum:
        tensor = _source(tensor)
        if tensor.ref() not in self._sums:
            self._sums[tensor.ref()] = self._computed(tensor)
        return self._sums[tensor.ref()]

    def _computed(self, tensor: tf.Tensor) -> Sum:
        if not self._graph.from_image(tensor):
            return self._constant(tensor)
        op = tensor.op
        if op.type in GATES:
            return self._through(tensor)
        if op.type == "Square":
            return _product(self._read(op.inputs[0]), self._read(op.inputs[0]))
        if op.type == "Neg":
            return _product({(0, 0): -1.0}, self._read(op.inputs[0]))
        if op.type not in ("Mul", "Add", "AddV2", "Sub", "RealDiv", "Pow"):
            raise _Unreadable
        first, second = map(self._read, op.inputs)
        return _combined(op.type, first, second)

    def _through(self, tensor: tf.Tensor) -> Sum:
        """A gate, which is the same wherever it occurs."""
        kind, argument = tensor.op.type, _source(tensor.op.inputs[0])
        if kind == "Tanh" and argument.op.type == "Softplus":
            kind, argument = "Mish", argument.op.inputs[0]
        read = self._read(argument)
        if any(gates for _, gates in read) or self._gate not in (None, (kind, read)):
            raise _Unreadable
        self._gate = kind, read
        return {(0, 1): 1.0}

    def _constant(self, tensor: tf.Tensor) -> Sum:
        value = tf.get_static_value(tensor)
        if value is None or np.size(value) != 1:
            raise _Unreadable
        return {(0, 0): float(np.reshape(value, []))}


def _combined(kind: str, first: Sum, second: Sum) -> Sum:
    if kind == "Mul":
        return _product(first, second)
    if kind in ("Add", "AddV2"):
        return _total(first, second)
    if kind == "Sub":
        return _total(first, _product({(0, 0): -1.0}, second))
    constant = second.get((0, 0), 0.0)
    if set(second) != {(0, 0)} or not constant:
        raise _Unreadable
    if kind == "RealDiv":
        return _product(first, {(0, 0): 1.0 / constant})
    if constant not in (1.0, 2.0, 3.0):
        raise _Unreadable
    power = first
    for _ in range(int(constant) - 1):
        power = _product(power, first)
    return power


def _total(first: Sum, second: Sum) -> Sum:
    return {key: first.get(key, 0.0) + second.get(key, 0.0) for key in first | second}


def _product(first: Sum, second: Sum) -> Sum:
    product: Sum = {}
    for (i, j), one in first.items():
        for (k, m), other in second.items():
            product[i + k, j + m] = product.get((i + k, j + m), 0.0) + one * other
    return product


def _same(first: Sum, second: Sum) -> bool:
    """Whether two sums are the same up to the rounding of their factors to float32."""
    return first.keys() == second.keys() and all(
        abs(first[key] - second[key]) <= FEW * abs(second[key]) for key in second
    )


def _with_holes(tensor: tf.Tensor, graph: Graph) -> Pattern | None:
    """A convolution with dilations: rows and columns apart by them go to the batch, are convolved,
    and come back."""
    convolution = _source(tensor.op.inputs[0])
    if convolution.op.type not in ("Conv2D", "DepthwiseConv2dNative"):
        return None
    parts = _source(convolution.op.inputs[0])
    if parts.op.type != "SpaceToBatchND":
        return None
    blocks = [tf.get_static_value(each.op.inputs[1]) for each in (tensor, parts)]
    paddings = [tf.get_static_value(each.op.inputs[2]) for each in (tensor, parts)]
    op = convolution.op
    if any(value is None for value in blocks + paddings) or not np.array_equal(*blocks):
        return None
    plain = set(op.get_attr("strides")) | set(op.get_attr("dilations")) == {1}
    if not plain or len(blocks[0]) != 2 or op.get_attr("padding") != b"VALID":
        return None
    return Pattern(parts.op.inputs[0], _holes(op, blocks[0].tolist(), *paddings))


def _holes(op: tf.Operation, block: list[int], crops: np.ndarray, paddings: np.ndarray) -> Rule:
    def rule(node: Node) -> list[Layer]:
        inner = node._replace(tensor=op.outputs[0])
        kernel, shape = inner.kernel(1)
        kind = linear.Depthwise if op.type != "Conv2D" else linear.Convolution
        node.expect(op.get_attr("data_format") == b"NHWC")
        node.expect(shape[2] == op.inputs[0].shape[3])
        around = [[0, 0], *paddings.tolist(), [0, 0]]
        how = ([1, 1, 1, 1], "VALID", [1, *block, 1])
        cuts = [
            (before, size + before, 1)
            for (before, _), size in zip(crops.tolist(), node.output[:2], strict=True)
        ]
        return [
            moves.Pad(node.name, node.places, around, 0.0),
            kind(node.name, [node.place], kernel, shape, *how),
            moves.Part(node.name, [node.place + 1], [*cuts, (0, node.output[2], 1)]),
        ]

    return rule
