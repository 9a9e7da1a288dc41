"""A traced graph: which of its tensors depend on the image, and what the others hold."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from foundation.errors import GauntletError
from robustness.bounds.layers import Parameter

PASS_ON = {
    "Identity", "IdentityN", "StopGradient", "PreventGradient", "EnsureShape", "CheckNumerics",
}  # fmt: skip
RESHAPES = {"Reshape", "Squeeze", "ExpandDims"}
SHAPED = {"Shape", "ZerosLike", "OnesLike"}
"""They read the shape of a tensor and nothing else of it."""

PARAMETER_OPERATIONS = {
    "Identity", "AddV2", "Add", "Sub", "Mul", "RealDiv", "Neg", "Rsqrt", "Sqrt", "Square", "Abs",
    "Exp", "Cast", "Transpose", "Maximum", "Minimum", "Pack",
}  # fmt: skip


class NoBoundError(GauntletError):
    """The model contains an operation through which no sound bound is known here."""


class Graph:
    """The graph of a model.

    Args:
        concrete: the traced model.
        known: the variables that it reads, as far as they are known.
        owned: the model's variables.
        variables: what is read in their place.

    Attributes:
        image, output: its two ends.
    """

    def __init__(
        self,
        concrete: tf.types.experimental.ConcreteFunction,
        known: Sequence[tf.Variable],
        owned: Sequence[tf.Variable],
        variables: Sequence[tf.Variable],
    ) -> None:
        self._captured = {inner.ref(): outer for outer, inner in concrete.graph.captures}
        self._variables = {variable.handle.ref(): variable for variable in known}
        for own, variable in zip(owned, variables, strict=True):
            copies = getattr(own, "values", [own])  # one a device, where it is distributed
            self._variables |= {copy.handle.ref(): variable for copy in copies}
        given = (tensor for tensor in concrete.inputs if tensor.ref() not in self._captured)
        self.image = next(given)
        (self.output,) = tf.nest.flatten(concrete.outputs)
        self._depends = {self.image.ref(): True}
        for op in reversed(concrete.graph.get_operations()):
            if op.type in ("EnsureShape", "Identity"):  # what a model insists on is known before it
                op.inputs[0].set_shape(op.outputs[0].shape)

    def from_image(self, tensor: tf.Tensor) -> bool:
        """Whether the tensor's value depends on the image's pixels; its batch size is none of
        them."""
        if tensor.ref() not in self._depends:
            read = [passed_on(tensor)] if tensor.op.type in PASS_ON else tensor.op.inputs
            self._depends[tensor.ref()] = tensor.op.type not in SHAPED and any(
                map(self.from_image, read)
            )
        return self._depends[tensor.ref()]

    def parameter(self, tensor: tf.Tensor) -> Parameter:
        """A function that computes a tensor that does not depend on the image."""
        if tensor.ref() in self._captured:
            outer = self._captured[tensor.ref()]
            return lambda: outer
        op = tensor.op
        if op.type == "ReadVariableOp" and op.inputs[0].ref() in self._captured:
            variable = self._variables.get(self._captured[op.inputs[0].ref()].ref())
            if variable is not None:  # read as itself, so that gradients find it
                return lambda: variable.read_value()
        known = tf.get_static_value(tensor)
        if known is not None:
            return lambda: tf.constant(known)
        if op.type in ("ZerosLike", "OnesLike") and tensor.shape[1:].is_fully_defined():
            rows = tensor.shape[0] or 1  # where the batch is open, one stands for all
            fill = tf.zeros if op.type == "ZerosLike" else tf.ones
            return lambda: fill([rows, *tensor.shape[1:]], tensor.dtype)
        if op.type == "Placeholder":
            raise NoBoundError(
                f"the model reads {op.name!r}, which is neither the image nor a weight"
            )
        if op.type not in PARAMETER_OPERATIONS | RESHAPES | {"ReadVariableOp"}:
            raise NoBoundError(
                f"no bound is known where a weight is computed by {op.type} (named {op.name!r})"
            )
        operands = [self.parameter(operand) for operand in op.inputs]
        return lambda: _replay(op, [operand() for operand in operands])

    def value(self, tensor: tf.Tensor) -> np.ndarray:
        """What a tensor holds that does not depend on the image, now."""
        return np.asarray(self.parameter(tensor)())


def passed_on(tensor: tf.Tensor) -> tf.Tensor:
    """The operand whose value an operation of `PASS_ON` passes on."""
    return tensor.op.inputs[tensor.value_index]


def _replay(op: tf.Operation, operands: list[tf.Tensor]) -> tf.Tensor:
    """Run one operation of the graph again, on other operands."""
    if op.type == "ReadVariableOp":
        return tf.raw_ops.ReadVariableOp(resource=operands[0], dtype=op.get_attr("dtype"))
    if op.type in RESHAPES and op.outputs[0].shape.is_fully_defined():
        return tf.reshape(operands[0], op.outputs[0].shape)
    if op.type == "Pack":
        return tf.stack(operands, op.get_attr("axis"))
    names = [argument.name for argument in op.op_def.input_arg]
    inferred = {argument.type_attr for argument in op.op_def.input_arg}
    attributes = {a.name: op.get_attr(a.name) for a in op.op_def.attr if a.name not in inferred}
    return getattr(tf.raw_ops, op.type)(**dict(zip(names, operands, strict=True)), **attributes)
