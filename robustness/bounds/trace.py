"""A model's graph to a list of layers that bounds can go through.

The operations are read from the traced graph itself, the one that the attacks differentiate and
that is served, so any Keras 2 model, Keras 3 model, SavedModel or function will do. An operation
without a bound is an error that names it. Weights are looked up at each use: bounds follow
variables.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence

import tensorflow as tf

from foundation.errors import GauntletError
from robustness.bounds import layers
from robustness.bounds.layers import Layer, Parameter
from robustness.inlining import Inlined, has_calls
from robustness.types import Model

PASS_ON = {"Identity", "StopGradient", "PreventGradient", "EnsureShape", "CheckNumerics"}
RESHAPES = {"Reshape", "Squeeze", "ExpandDims"}


class NoBoundError(GauntletError):
    """The model contains an operation through which no sound bound is known here."""


def trace(
    model: Model, image_shape: tuple[int, int, int], variables: Sequence[tf.Variable] = ()
) -> list[Layer]:
    """The layers from image to logits in topological order; the last gives the logits.

    A softmax at the very end is left out: it changes no order among the classes (in float32 it can
    make a tie of two, so a model is taken by its logits).

    Args:
        model: images in [0, 1] to logits.
        image_shape: height, width, channels.
        variables: what is read in place of the model's own variables, in their order: those in
            training may be distributed, or computed in another precision than can be traced.

    Raises:
        NoBoundError: an operation without a bound; the message names it.
    """
    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    if has_calls(concrete):
        inlined = Inlined(concrete)
        concrete = tf.function(lambda x: inlined(x)[0]).get_concrete_function(spec)
    owned = getattr(model, "variables", ()) if variables else ()
    return _Reader(concrete, owned, variables).read()


class _Reader:
    """Walks from the output of a graph to its input."""

    def __init__(
        self,
        concrete: tf.types.experimental.ConcreteFunction,
        owned: Sequence[tf.Variable],
        variables: Sequence[tf.Variable],
    ) -> None:
        self._captured = {inner.ref(): outer for outer, inner in concrete.graph.captures}
        self._variables = {variable.handle.ref(): variable for variable in concrete.graph.variables}
        for own, variable in zip(owned, variables, strict=True):
            copies = getattr(own, "values", [own])  # one a device, where it is distributed
            self._variables |= {copy.handle.ref(): variable for copy in copies}
        given = (tensor for tensor in concrete.inputs if tensor.ref() not in self._captured)
        self._image = next(given)
        (self._output,) = tf.nest.flatten(concrete.outputs)
        self._layers: list[Layer] = [layers.Input()]
        self._places: dict[Hashable, int] = {self._image.ref(): 0}
        self._depends: dict[Hashable, bool] = {self._image.ref(): True}

    def read(self) -> list[Layer]:
        """All layers, from the image to the logits."""
        output = self._output
        while output.op.type in PASS_ON or output.op.type == "Softmax":
            output = output.op.inputs[0]
        for tensor in self._in_order(output):
            self._add(tensor)
        if self._places.get(output.ref()) != len(self._layers) - 1:
            raise NoBoundError("the output of the model does not depend on the image")
        return self._layers

    def _in_order(self, output: tf.Tensor) -> Iterator[tf.Tensor]:
        """All tensors between image and output that depend on the image, operands first."""
        seen, stack = {self._image.ref()}, [(output, False)]
        while stack:
            tensor, expanded = stack.pop()
            if expanded:
                yield tensor
            elif tensor.ref() not in seen and self.from_image(tensor):
                seen.add(tensor.ref())
                stack.append((tensor, True))
                stack.extend((operand, False) for operand in tensor.op.inputs)

    def from_image(self, tensor: tf.Tensor) -> bool:
        """Whether the tensor's value depends on the image's pixels; its batch size is none of
        them."""
        if tensor.ref() not in self._depends:
            self._depends[tensor.ref()] = tensor.op.type != "Shape" and any(
                map(self.from_image, tensor.op.inputs)
            )
        return self._depends[tensor.ref()]

    def _add(self, tensor: tf.Tensor) -> None:
        """Append the layer of one tensor, or note that it is the same as its operand."""
        op = tensor.op
        if op.type in PASS_ON:
            self._places[tensor.ref()] = self._places[op.inputs[0].ref()]
            return
        operands = [operand for operand in op.inputs if self.from_image(operand)]
        rule = RULES.get(op.type)
        if rule is None or tensor.value_index != 0:
            raise NoBoundError(f"no bound is known for the operation {op.type} (named {op.name!r})")
        places = [self._places[operand.ref()] for operand in operands]
        self._layers.extend(rule(op, places, self, len(self._layers)))
        self._places[tensor.ref()] = len(self._layers) - 1

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
        if op.type == "Const":
            value = tf.make_ndarray(op.get_attr("value"))
            return lambda: tf.constant(value)
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


def _replay(op: tf.Operation, operands: list[tf.Tensor]) -> tf.Tensor:
    """Run one operation of the graph again, on other operands."""
    if op.type == "ReadVariableOp":
        return tf.raw_ops.ReadVariableOp(resource=operands[0], dtype=op.get_attr("dtype"))
    if op.type in RESHAPES and op.outputs[0].shape.is_fully_defined():
        return tf.reshape(operands[0], op.outputs[0].shape)
    names = [argument.name for argument in op.op_def.input_arg]
    inferred = {argument.type_attr for argument in op.op_def.input_arg}
    attributes = {a.name: op.get_attr(a.name) for a in op.op_def.attr if a.name not in inferred}
    return getattr(tf.raw_ops, op.type)(**dict(zip(names, operands, strict=True)), **attributes)


PARAMETER_OPERATIONS = {
    "Identity", "AddV2", "Add", "Sub", "Mul", "RealDiv", "Neg", "Rsqrt", "Sqrt", "Square", "Abs",
    "Exp", "Cast", "Transpose", "Maximum", "Minimum",
}  # fmt: skip

Rule = Callable[[tf.Operation, list[int], _Reader, int], list[Layer]]
"""An operation, the places of its operands that depend on the image, the reader, and the place of
the next layer; gives the layers to append."""


def _convolution(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    _expect(op, len(places) == 1 and op.get_attr("data_format") == b"NHWC")
    _expect(op, op.inputs[1].shape.is_fully_defined())
    padding: str | list[list[int]] = op.get_attr("padding").decode()
    if padding == "EXPLICIT":
        flat = op.get_attr("explicit_paddings")
        padding = [list(flat[i : i + 2]) for i in range(0, len(flat), 2)]
    strides, dilations = op.get_attr("strides"), op.get_attr("dilations")
    kernel, shape = reader.parameter(op.inputs[1]), tuple(op.inputs[1].shape)
    _expect(op, shape[2] == op.inputs[0].shape[3])  # no grouped convolution
    return [layers.Convolution(op.name, places, kernel, shape, strides, padding, dilations)]


def _dense(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    _expect(op, len(places) == 1 and reader.from_image(op.inputs[0]))
    _expect(op, not op.get_attr("transpose_a"))
    kernel, shape = reader.parameter(op.inputs[1]), tuple(op.inputs[1].shape)
    if op.get_attr("transpose_b"):
        return [layers.Dense(op.name, places, lambda: tf.transpose(kernel()), shape[::-1])]
    return [layers.Dense(op.name, places, kernel, shape)]


def _sum(op: tf.Operation, places: list[int], reader: _Reader, place: int) -> list[Layer]:
    sign = -1.0 if op.type == "Sub" else 1.0
    if op.type == "BiasAdd" and len(op.inputs[0].shape) != 2:
        _expect(op, op.get_attr("data_format") == b"NHWC")
    if len(places) == 2:
        _expect(op, op.inputs[0].shape[1:] == op.inputs[1].shape[1:])
        return [layers.Sum(op.name, places, sign)]
    data, other = op.inputs if reader.from_image(op.inputs[0]) else reversed(op.inputs)
    _expect(op, op.outputs[0].shape[1:] == data.shape[1:])  # the operand is not itself broadcast
    offset = reader.parameter(other)
    if sign < 0 and data is op.inputs[1]:  # parameter - operand
        return [
            layers.Scale(op.name, places, lambda: tf.constant(-1.0)),
            layers.Shift(op.name, [place], offset),
        ]
    return [layers.Shift(op.name, places, (lambda: -offset()) if sign < 0 else offset)]


def _scale(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    divides = op.type == "RealDiv"
    data, other = op.inputs if reader.from_image(op.inputs[0]) else reversed(op.inputs)
    _expect(op, len(places) == 1 and op.outputs[0].shape[1:] == data.shape[1:])
    _expect(op, not divides or data is op.inputs[0])
    factor = reader.parameter(other)
    return [layers.Scale(op.name, places, (lambda: 1.0 / factor()) if divides else factor)]


def _batch_norm(op: tf.Operation, places: list[int], reader: _Reader, place: int) -> list[Layer]:
    _expect(op, not op.get_attr("is_training") and op.get_attr("data_format") == b"NHWC")
    scale, offset, mean, variance = (reader.parameter(operand) for operand in op.inputs[1:])
    epsilon = op.get_attr("epsilon")
    return [
        layers.Shift(op.name, places, lambda: -mean()),
        layers.Scale(op.name, [place], lambda: scale() * tf.math.rsqrt(variance() + epsilon)),
        layers.Shift(op.name, [place + 1], offset),
    ]


def _pool(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    window, strides = op.get_attr("ksize"), op.get_attr("strides")
    padding = op.get_attr("padding").decode()
    _expect(op, op.get_attr("data_format") == b"NHWC" and padding in ("SAME", "VALID"))
    # Not over images or channels.
    _expect(op, window[0] == window[3] == strides[0] == strides[3] == 1)
    kind = layers.MaxPool if op.type == "MaxPool" else layers.AveragePool
    return [kind(op.name, places, window, strides, padding)]


def _mean(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    data = op.inputs[0]
    given = tf.reshape(reader.parameter(op.inputs[1])(), [-1])
    axes = sorted(int(axis) % len(data.shape) for axis in given)
    _expect(op, axes == [1, 2])
    pixels = data.shape[1] * data.shape[2]
    return [layers.Mean(op.name, places, axes, op.get_attr("keep_dims"), pixels)]


def _reshape(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    shape = op.outputs[0].shape[1:]
    _expect(op, len(places) == 1 and shape.is_fully_defined())
    # The batch stays the batch.
    _expect(op, shape.num_elements() == op.inputs[0].shape[1:].num_elements())
    return [layers.Reshape(op.name, places, tuple(shape))]


def _pad(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    paddings = reader.parameter(op.inputs[1])().numpy().tolist()
    _expect(op, len(places) == 1 and paddings[0] == [0, 0])
    return [layers.ZeroPad(op.name, places, paddings)]


def _relu(op: tf.Operation, places: list[int], reader: _Reader, _: int) -> list[Layer]:
    return [layers.Relu(op.name, places)]


def _expect(op: tf.Operation, holds: bool) -> None:
    if not holds:
        raise NoBoundError(
            f"no bound is known for the operation {op.type} (named {op.name!r}) as it is used here"
        )


RULES: dict[str, Rule] = {
    "Conv2D": _convolution,
    "MatMul": _dense,
    "BiasAdd": _sum,
    "AddV2": _sum,
    "Add": _sum,
    "Sub": _sum,
    "Mul": _scale,
    "RealDiv": _scale,
    "FusedBatchNormV3": _batch_norm,
    "MaxPool": _pool,
    "AvgPool": _pool,
    "Mean": _mean,
    "Pad": _pad,
    "Relu": _relu,
} | {name: _reshape for name in RESHAPES}
