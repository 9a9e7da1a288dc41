"""Which layers an operation of a graph becomes; one rule for each type of operation."""

from robustness.bounds.graph import RESHAPES
from robustness.bounds.rules import activations, linear, moves
from robustness.bounds.rules.node import Node, Rule

__all__ = ["RULES", "SEVERAL_OUTPUTS", "Node", "Rule"]

SEVERAL_OUTPUTS = {name: moves.split for name in ("Split", "SplitV", "Unpack")}

RULES: dict[str, Rule] = {
    "Conv2D": linear.convolution,
    "DepthwiseConv2dNative": linear.depthwise,
    "Conv2DBackpropInput": linear.transposed_convolution,
    "MatMul": linear.dense,
    "BatchMatMulV2": linear.dense,
    "BiasAdd": linear.sum_of_two,
    "AddV2": linear.sum_of_two,
    "Add": linear.sum_of_two,
    "Sub": linear.sum_of_two,
    "AddN": linear.sum_of_many,
    "Mul": linear.scale,
    "RealDiv": linear.scale,
    "Neg": linear.negate,
    "FusedBatchNormV3": linear.batch_norm,
    "MaxPool": linear.pool,
    "AvgPool": linear.pool,
    "Mean": linear.mean,
    "Sum": linear.mean,
    "Max": linear.largest,
    "Pad": moves.pad,
    "PadV2": moves.pad,
    "MirrorPad": moves.pad,
    "Transpose": moves.transpose,
    "Tile": moves.tile,
    "ConcatV2": moves.concatenation,
    "ResizeBilinear": moves.resize,
    "ResizeNearestNeighbor": moves.resize,
    "StridedSlice": moves.strided_slice,
    "Slice": moves.slice_of,
    "Relu": activations.relu,
    "Relu6": activations.relu6,
    "LeakyRelu": activations.leaky_relu,
    "Maximum": activations.extremum,
    "Minimum": activations.extremum,
    **SEVERAL_OUTPUTS,
    **dict.fromkeys(RESHAPES, moves.reshape),
    **dict.fromkeys(activations.CURVES, activations.smooth),
}
