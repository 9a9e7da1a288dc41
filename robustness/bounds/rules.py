"""Which layers an operation of a graph becomes; one rule for each type of operation."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from robustness.bounds import activations, curves, linear, moves, pooling
from robustness.bounds.graph import RESHAPES, Graph, NoBoundError
from robustness.bounds.layers import Layer, Parameter


class Node(NamedTuple):
    """A tensor that depends on the image, as the rules see it.

    Attributes:
        tensor: what its operation gives.
        places: places of the operands that depend on the image, in their order.
        graph: what knows the others.
        place: place of the next layer.
    """

    tensor: tf.Tensor
    places: list[int]
    graph: Graph
    place: int

    @property
    def op(self) -> tf.Operation:
        return self.tensor.op

    @property
    def name(self) -> str:
        return str(self.op.name)

    def shape(self, number: int) -> tuple[int, ...]:
        """The shape of one operand without the batch, known in full."""
        return self._known(self.op.inputs[number])

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of the output without the batch, known in full."""
        return self._known(self.tensor)

    def parameter(self, number: int) -> Parameter:
        """An operand that does not depend on the image."""
        self.expect(not self.graph.from_image(self.op.inputs[number]))
        return self.graph.parameter(self.op.inputs[number])

    def value(self, number: int) -> np.ndarray:
        """What it holds now."""
        return np.asarray(self.parameter(number)())

    def kernel(self, number: int) -> tuple[Parameter, tuple[int, ...]]:
        """It, and its shape."""
        self.expect(self.op.inputs[number].shape.is_fully_defined())
        return self.parameter(number), tuple(self.op.inputs[number].shape)

    def sides(self) -> tuple[tf.Tensor, tf.Tensor]:
        """Of two operands the one that depends on the image, which is not broadcast, and the
        other."""
        first, second = self.op.inputs
        data, other = (first, second) if self.graph.from_image(first) else (second, first)
        self.expect(self.tensor.shape[1:] == data.shape[1:])
        return data, other

    def padding(self) -> str | list[list[int]]:
        """The padding of a convolution, as `tf.nn.conv2d` takes it."""
        padding: str = self.op.get_attr("padding").decode()
        if padding != "EXPLICIT":
            return padding
        flat = self.op.get_attr("explicit_paddings")
        return [list(flat[i : i + 2]) for i in range(0, len(flat), 2)]

    def expect(self, holds: bool) -> None:
        """Raise `NoBoundError` where the operation is used in another way than expected."""
        if not holds:
            raise NoBoundError(
                f"no bound is known for the operation {self.op.type} (named {self.name!r}) as it "
                "is used here"
            )

    def _known(self, tensor: tf.Tensor) -> tuple[int, ...]:
        self.expect(tensor.shape.rank is not None and tensor.shape[1:].is_fully_defined())
        return tuple(tensor.shape[1:])


Rule = Callable[[Node], list[Layer]]


def _convolution(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.op.get_attr("data_format") == b"NHWC")
    kernel, shape = node.kernel(1)
    channels = node.op.inputs[0].shape[3]
    node.expect(channels is not None and channels % shape[2] == 0)
    strides, dilations = node.op.get_attr("strides"), node.op.get_attr("dilations")
    groups = channels // shape[2]
    how = (strides, node.padding(), dilations, groups)
    return [linear.Convolution(node.name, node.places, kernel, shape, *how)]


def _depthwise(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.op.get_attr("data_format") == b"NHWC")
    kernel, shape = node.kernel(1)
    how = (node.op.get_attr("strides"), node.padding(), node.op.get_attr("dilations"))
    return [linear.Depthwise(node.name, node.places, kernel, shape, *how)]


def _transposed_convolution(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.graph.from_image(node.op.inputs[2]))
    node.expect(node.op.get_attr("data_format") == b"NHWC")
    node.expect(set(node.op.get_attr("dilations")) == {1})
    kernel, shape = node.kernel(1)
    node.expect(shape[3] == node.op.inputs[2].shape[3])
    how = (node.op.get_attr("strides"), node.padding())
    return [linear.TransposedConvolution(node.name, node.places, kernel, shape, node.output, *how)]


def _dense(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1 and node.graph.from_image(node.op.inputs[0]))
    first, second = "transpose_a", "transpose_b"
    if node.op.type != "MatMul":
        first, second = "adj_x", "adj_y"
    node.expect(not node.op.get_attr(first) and node.op.inputs[1].shape.rank == 2)
    kernel, shape = node.kernel(1)
    if node.op.get_attr(second):
        return [linear.Dense(node.name, node.places, lambda: tf.transpose(kernel()), shape[::-1])]
    return [linear.Dense(node.name, node.places, kernel, shape)]


def _sum(node: Node) -> list[Layer]:
    sign = -1.0 if node.op.type == "Sub" else 1.0
    if node.op.type == "BiasAdd" and len(node.op.inputs[0].shape) != 2:
        node.expect(node.op.get_attr("data_format") == b"NHWC")
    if len(node.places) == 2:
        node.expect(node.op.inputs[0].shape[1:] == node.op.inputs[1].shape[1:])
        return [linear.Sum(node.name, node.places, sign)]
    data, other = node.sides()
    offset = node.graph.parameter(other)
    if sign < 0 and data is node.op.inputs[1]:  # parameter - operand
        return [_scaled(node, -1.0, node.places[0]), linear.Shift(node.name, [node.place], offset)]
    signed: Parameter = (lambda: -offset()) if sign < 0 else offset
    return [linear.Shift(node.name, node.places, signed)]


def _sum_of_many(node: Node) -> list[Layer]:
    node.expect(len(node.places) == len(node.op.inputs) > 1)
    first, *rest = node.places
    sums: list[Layer] = []
    for other in rest:
        sums.append(linear.Sum(node.name, [first, other], 1.0))
        first = node.place + len(sums) - 1
    return sums


def _scale(node: Node) -> list[Layer]:
    divides = node.op.type == "RealDiv"
    node.expect(len(node.places) == 1)
    data, other = node.sides()
    node.expect(not divides or data is node.op.inputs[0])
    factor = node.graph.parameter(other)
    return [linear.Scale(node.name, node.places, (lambda: 1.0 / factor()) if divides else factor)]


def _negate(node: Node) -> list[Layer]:
    return [_scaled(node, -1.0, node.places[0])]


def _batch_norm(node: Node) -> list[Layer]:
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


def _pool(node: Node) -> list[Layer]:
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


def _mean(node: Node) -> list[Layer]:
    axes, kind = _axes(node), linear.Mean if node.op.type == "Mean" else linear.Total
    count = math.prod(node.shape(0)[axis - 1] for axis in axes)
    return [kind(node.name, node.places, axes, node.op.get_attr("keep_dims"), count)]


def _max(node: Node) -> list[Layer]:
    node.expect(_axes(node) == [1, 2] and len(node.shape(0)) == 3)
    pool = pooling.GlobalMaxPool(node.name, node.places, node.shape(0)[:2])
    return [pool, moves.Reshape(node.name, [node.place], node.output)]


def _reshape(node: Node) -> list[Layer]:
    node.expect(len(node.places) == 1)
    node.expect(math.prod(node.output) == math.prod(node.shape(0)))  # the batch stays the batch
    return [moves.Reshape(node.name, node.places, node.output)]


def _pad(node: Node) -> list[Layer]:
    paddings = node.value(1).tolist()
    node.expect(len(node.places) == 1 and paddings[0] == [0, 0])
    if node.op.type == "MirrorPad":
        mode = node.op.get_attr("mode").decode()
        return [moves.MirrorPad(node.name, node.places, paddings, mode)]
    filling = float(node.value(2)) if node.op.type == "PadV2" else 0.0
    node.expect(math.isfinite(filling))
    return [moves.Pad(node.name, node.places, paddings, filling)]


def _transpose(node: Node) -> list[Layer]:
    order = node.value(1).tolist()
    node.expect(len(node.places) == 1 and order[0] == 0)
    return [moves.Transpose(node.name, node.places, order)]


def _tile(node: Node) -> list[Layer]:
    multiples = node.value(1).tolist()
    node.expect(len(node.places) == 1 and multiples[0] == 1)
    return [moves.Tile(node.name, node.places, node.shape(0), multiples[1:])]


def _concatenation(node: Node) -> list[Layer]:
    parts = node.op.inputs[:-1]
    along = int(node.value(len(parts))) % (len(node.output) + 1)
    node.expect(along > 0)
    known = [None if node.graph.from_image(each) else node.graph.parameter(each) for each in parts]
    sizes = [node.shape(number)[along - 1] for number in range(len(parts))]
    return [moves.Concatenation(node.name, node.places, along, sizes, known)]


def _resize(node: Node) -> list[Layer]:
    names = ("align_corners", "half_pixel_centers")
    how = {name: node.op.get_attr(name) for name in names}
    kinds = {"ResizeBilinear": moves.Bilinear, "ResizeNearestNeighbor": moves.Nearest}
    node.expect(len(node.places) == 1)
    (height, width, _), (high, wide, _) = node.shape(0), node.output
    kind = kinds[node.op.type]
    return [kind(node.name, node.places, (height, width), (high, wide), how)]


def _strided_slice(node: Node) -> list[Layer]:
    begins, ends, strides = (node.value(number).tolist() for number in (1, 2, 3))
    node.expect(len(node.places) == 1 and not node.op.get_attr("new_axis_mask"))
    first, last, dots, shrunk = (
        node.op.get_attr(f"{name}_mask") for name in ("begin", "end", "ellipsis", "shrink_axis")
    )
    rank, slices = len(node.shape(0)) + 1, []
    for i, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True)):
        bit = 1 << i
        if dots & bit:
            slices += [slice(None)] * (rank - len(begins) + 1)
        elif shrunk & bit:
            slices.append(slice(begin, begin + 1 or None))
        else:
            cut = (None if first & bit else begin, None if last & bit else end, stride)
            slices.append(slice(*cut))
    slices += [slice(None)] * (rank - len(slices))
    batch = slices[0]
    node.expect(batch.start in (None, 0) and batch.stop is None and batch.step in (None, 1))
    return _part(node, slices[1:])


def _slice(node: Node) -> list[Layer]:
    begins, sizes = (node.value(number).tolist() for number in (1, 2))
    node.expect(len(node.places) == 1 and begins[0] == 0 and sizes[0] == -1)
    ends = [None if size < 0 else begin + size for begin, size in zip(begins, sizes, strict=True)]
    return _part(node, [slice(*cut) for cut in zip(begins[1:], ends[1:], strict=True)])


def _split(node: Node) -> list[Layer]:
    """One of the parts into which a tensor is split along an axis."""
    number, axis_at = node.tensor.value_index, {"Split": 0, "SplitV": 2}.get(node.op.type)
    data = 1 if node.op.type == "Split" else 0
    node.expect(len(node.places) == 1)
    shape = node.shape(data)
    given = node.op.get_attr("axis") if axis_at is None else node.value(axis_at)
    axis = int(given) % (len(shape) + 1)
    node.expect(axis > 0)
    sizes = [shape[axis - 1] // len(node.op.outputs)] * len(node.op.outputs)
    if node.op.type == "SplitV":
        sizes = [part.shape[axis] for part in node.op.outputs]
    slices = [slice(None)] * len(shape)
    slices[axis - 1] = slice(sum(sizes[:number]), sum(sizes[: number + 1]))
    return _part(node, slices, data)


def _part(node: Node, slices: list[slice], data: int = 0) -> list[Layer]:
    """The part of an operand that slices of all axes except the batch's cut out."""
    cuts = [cut.indices(size) for cut, size in zip(slices, node.shape(data), strict=True)]
    node.expect(all(step > 0 for _, _, step in cuts))
    kept = tuple(len(range(*cut)) for cut in cuts)
    node.expect(math.prod(kept) == math.prod(node.output) > 0)
    part = moves.Part(node.name, node.places, cuts)
    reshaped = moves.Reshape(node.name, [node.place], node.output)
    return [part] if kept == node.output else [part, reshaped]


def _relu(node: Node) -> list[Layer]:
    return [activations.Relu(node.name, node.places)]


def _leaky_relu(node: Node) -> list[Layer]:
    """alpha x + (1 - alpha) relu(x)."""
    alpha = node.op.get_attr("alpha")
    node.expect(0 <= alpha <= 1)
    return [
        activations.Relu(node.name, node.places),
        _scaled(node, 1.0 - alpha, node.place),
        _scaled(node, alpha, node.places[0]),
        linear.Sum(node.name, [node.place + 1, node.place + 2], 1.0),
    ]


def _relu6(node: Node) -> list[Layer]:
    relu, six = activations.Relu(node.name, node.places), lambda: tf.constant(6.0)
    return [relu, *_smaller(node, node.place, six, node.place + 1)]


def _extremum(node: Node) -> list[Layer]:
    """The larger or the smaller of an operand and a parameter."""
    node.expect(len(node.places) == 1)
    _, other = node.sides()
    bound = node.graph.parameter(other)
    node.expect(bool(np.isfinite(bound()).all()))
    (operand,) = node.places
    if node.op.type == "Minimum":
        return _smaller(node, operand, bound, node.place)
    if not np.any(bound()):
        return _relu(node)
    return [
        linear.Shift(node.name, [operand], lambda: -bound()),
        activations.Relu(node.name, [node.place]),
        linear.Shift(node.name, [node.place + 1], bound),
    ]


def _smaller(node: Node, operand: int, bound: Parameter, place: int) -> list[Layer]:
    """min(operand, bound) = bound - relu(bound - operand), the first layer at a place."""
    return [
        _scaled(node, -1.0, operand),
        linear.Shift(node.name, [place], bound),
        activations.Relu(node.name, [place + 1]),
        _scaled(node, -1.0, place + 2),
        linear.Shift(node.name, [place + 3], bound),
    ]


def _scaled(node: Node, factor: float, operand: int) -> Layer:
    return linear.Scale(node.name, [operand], lambda: tf.constant(factor, tf.float32))


def _smooth(node: Node) -> list[Layer]:
    return [activations.Smooth(node.name, node.places, CURVES[node.op.type])]


CURVES = {
    "Sigmoid": curves.SIGMOID,
    "Tanh": curves.TANH,
    "Softsign": curves.SOFTSIGN,
    "Softplus": curves.SOFTPLUS,
    "Elu": curves.ELU,
    "Selu": curves.SELU,
}

SEVERAL_OUTPUTS = {name: _split for name in ("Split", "SplitV", "Unpack")}

RULES: dict[str, Rule] = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed_convolution,
    "MatMul": _dense,
    "BatchMatMulV2": _dense,
    "BiasAdd": _sum,
    "AddV2": _sum,
    "Add": _sum,
    "Sub": _sum,
    "AddN": _sum_of_many,
    "Mul": _scale,
    "RealDiv": _scale,
    "Neg": _negate,
    "FusedBatchNormV3": _batch_norm,
    "MaxPool": _pool,
    "AvgPool": _pool,
    "Mean": _mean,
    "Sum": _mean,
    "Max": _max,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _pad,
    "Transpose": _transpose,
    "Tile": _tile,
    "ConcatV2": _concatenation,
    "ResizeBilinear": _resize,
    "ResizeNearestNeighbor": _resize,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "Relu": _relu,
    "Relu6": _relu6,
    "LeakyRelu": _leaky_relu,
    "Maximum": _extremum,
    "Minimum": _extremum,
    **SEVERAL_OUTPUTS,
    **dict.fromkeys(RESHAPES, _reshape),
    **dict.fromkeys(CURVES, _smooth),
}
