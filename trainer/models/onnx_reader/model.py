"""An ONNX file as TensorFlow operations: the way in for networks of PyTorch.

The reader is our own, on the package `onnx` alone. Of the converters onnx-tf ended with version
1.10 of 2022 for TensorFlow 2.4 with tensorflow-addons, and onnx2tf (2.5) asks for Python 3.12 and
pins NumPy, protobuf and onnxruntime to versions beside ours. They write files whose weights are
constants and whose transposed axes they guess and correct by running the model, while attacks and
bounds need the very network: its weights as variables, the operations that the bounds know, and a
refusal where something is not certain.

What a file says of one image holds for any number of them, see `values`. The file is read in
`file`; this module runs its nodes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from foundation.errors import DataError
from trainer.models.onnx_reader import (  # noqa: F401  their operators are in the table
    activations,
    convolutions,
    normalisations,
    pools,
    products,
    resizing,
    shapes,
)
from trainer.models.onnx_reader.file import STANDARD, OnnxGraph, OnnxNode, read_graph
from trainer.models.onnx_reader.operations import OPERATORS
from trainer.models.onnx_reader.sizes import LARGEST, SIZES, sizes_constant
from trainer.models.onnx_reader.values import (
    TO_CHANNELS_LAST,
    Constant,
    Images,
    Node,
    Operand,
    Result,
    Value,
    Weights,
)

QUANTISED = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "ConvInteger"),
    *("QLinearConv", "QLinearMatMul", "MatMulInteger"),
}
DIRECT = {"Constant", "ConstantOfShape", "Identity", "Shape"}
"""Operators that take constants as they are."""
MISTAKES = (
    *(ValueError, TypeError, LookupError, ArithmeticError, AssertionError, AttributeError),
    NotImplementedError,
    *(tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.NotFoundError),
)
"""What NumPy and TensorFlow raise for operands that do not fit."""


def read_onnx(path: Path, channels_last_images: bool = False) -> "OnnxModel":
    """The network of an ONNX file.

    Args:
        channels_last_images: the images come as [n, h, w, c], although the file's input is
            [n, c, h, w]; nothing is transposed.

    Raises:
        DataError: the file cannot be read, or has what is not known here; the message names it.
    """
    return OnnxModel(read_graph(path), channels_last_images)


class OnnxModel(tf.Module):
    """An ONNX network as TensorFlow operations.

    input_shape: as the file says, None where a size is open.
    files: other files with its weights.
    """

    files: tuple[Path, ...]
    input_name: str
    input_shape: tuple[int | None, ...]
    input_dtype: tf.DType
    output_names: tuple[str, ...]

    def __init__(self, graph: OnnxGraph, channels_last_images: bool) -> None:
        super().__init__()
        self._path, self._channels_last = graph.path, channels_last_images
        self.input_name, self.input_shape = graph.input_name, graph.input_shape
        self.input_dtype = tf.as_dtype(graph.input_type)
        self.output_names, self.files = graph.output_names, graph.files
        if not self.input_shape or (channels_last_images and len(self.input_shape) != 4):
            raise DataError(
                f"{self._path}: expected images [n, c, h, w], got an input of shape "
                f"{list(self.input_shape)}; export the network with its images as input"
            )
        self._weights = Weights()
        self._constants = {name: Constant(a, (name,)) for name, a in graph.weights.items()}
        self._most = max(LARGEST, sum(array.size for array in graph.weights.values()))
        self._expect_one_source_each(graph)
        nodes = [self._node(graph, node) for node in graph.nodes]
        self._nodes = [node for node in nodes if not self._fold(node)]
        if None not in self.input_shape[1:]:  # so that what does not fit is known at once
            images = [None, *self._image_shape()]
            function = tf.function(self.__call__, autograph=False)
            function.get_concrete_function(tf.TensorSpec(images, self.input_dtype))

    @tf.autograph.experimental.do_not_convert
    def __call__(self, x: tf.Tensor, training: bool = False) -> dict[str, tf.Tensor]:
        """The outputs by name for images of the file's shape (see `read_onnx`), any number.

        Raises:
            DataError: images of another shape or type, or operands that do not fit.
        """
        values: dict[str, Operand] = {**self._constants, self.input_name: self._images(x)}
        for node in self._nodes:
            values |= self._run(node, values)
        return {name: self._output(name, values) for name in self.output_names}

    def _expect_one_source_each(self, graph: OnnxGraph) -> None:
        names = [name for node in graph.nodes for name in node.outputs if name]
        names += [graph.input_name, *graph.weights]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(
                f"{self._path}: expected every value to be computed once, got {twice!r} twice; "
                "export the network again"
            )

    def _node(self, graph: OnnxGraph, node: OnnxNode) -> Node:
        made = Node(
            *(self._path, node.operator, node.name, node.inputs, node.outputs, node.attributes),
            *(graph.opset, self.input_shape[0], self._weights),
        )
        if node.operator in QUANTISED:
            raise made.refusal("expected a network of floating point, got a quantised one")
        if node.domain not in STANDARD or node.operator not in OPERATORS.keys() | SIZES.keys():
            raise made.refusal(
                f"expected operators that are known here, got one of {node.domain or 'ai.onnx'}"
            )
        return made

    def _fold(self, node: Node) -> bool:
        """Compute a node of constants once and for all, if it is one."""
        if not all(name in self._constants for name in node.inputs if name):
            return False
        for name, result in self._run(node, self._constants).items():
            assert isinstance(result, Constant)
            self._constants[name] = Constant(result.array, (name,))
        return True

    def _run(self, node: Node, values: Mapping[str, Operand]) -> dict[str, Operand]:
        """What a node gives, by name."""
        missing = [name for name in node.inputs if name and name not in values]
        if missing:
            raise node.refusal(f"expected {missing[0]!r} to be computed before it, got nothing")
        operands = [values[name] if name else None for name in node.inputs]
        try:
            result = self._compute(node, operands)
        except DataError:
            raise
        except MISTAKES as error:
            raise node.refusal(f"its operands do not fit: {error}") from error
        unknown = sorted(node.attributes.keys() - node.asked)
        if unknown:
            raise node.refusal(f"expected attributes that are known here, got {unknown[0]}")
        results = [result] if isinstance(result, Value | Constant) else result
        return {name: one for name, one in zip(node.outputs, results, strict=False) if name}

    def _compute(self, node: Node, operands: list[Operand | None]) -> Result:
        given = [operand for operand in operands if operand is not None]
        constants = [operand for operand in given if isinstance(operand, Constant)]
        only, counted = len(constants) == len(given), any(c.counts_images for c in constants)
        if only and counted and node.operator in SIZES:
            arrays = [None if operand is None else operand.array for operand in operands]  # type: ignore[union-attr]
            return sizes_constant(SIZES[node.operator](node, *arrays))
        compute = OPERATORS.get(node.operator)
        if compute is None:
            raise node.refusal("expected sizes to be its operands, got others")
        if only and not counted and node.operator not in DIRECT:
            if not given:
                raise node.refusal("expected operands, got none")
            return self._evaluate(node, operands)
        return compute(node, *operands)

    def _evaluate(self, node: Node, operands: list[Operand | None]) -> list[Constant]:
        """A node of constants: its size is looked at in a graph, before it is computed."""

        def compute() -> list[tf.Tensor]:
            given: list[Any] = [o and Constant(o.array) for o in operands]  # type: ignore[union-attr]
            first = next(place for place, o in enumerate(given) if o is not None)
            given[first] = Value(tf.constant(given[first].array), None)
            result = OPERATORS[node.operator](node, *given)
            values = [result] if isinstance(result, Value) else result
            return [value.in_onnx_order() for value in values]  # type: ignore[union-attr]

        with tf.Graph().as_default():
            sizes = [tensor.shape.num_elements() for tensor in compute()]
        if any(size is None or size > self._most for size in sizes):
            raise node.refusal(f"expected a constant of at most {self._most} elements")
        with tf.init_scope(), tf.device("CPU"):
            return [Constant(tensor.numpy()) for tensor in compute()]

    def _image_shape(self) -> list[int | None]:
        """The shape of an image as it comes."""
        shape = list(self.input_shape)
        return ([shape[axis] for axis in TO_CHANNELS_LAST] if self._channels_last else shape)[1:]

    def _images(self, x: tf.Tensor) -> Value:
        tensor, expected = tf.convert_to_tensor(x), self._image_shape()
        got = tensor.shape.as_list() if tensor.shape.rank is not None else []
        pairs = zip(got[1:], expected, strict=False)
        if len(got) - 1 != len(expected) or any(g is None or e not in (None, g) for g, e in pairs):
            raise DataError(
                f"{self._path}: expected images of shape {[None, *expected]}, got {got}; give "
                "images of that shape"
            )
        if tensor.dtype != self.input_dtype:
            if not (tensor.dtype.is_floating and self.input_dtype.is_floating):
                raise DataError(
                    f"{self._path}: expected images of {self.input_dtype.name}, got "
                    f"{tensor.dtype.name}; give images of that type"
                )
            tensor = tf.cast(tensor, self.input_dtype)
        return Value(tensor, Images(0), self._channels_last)

    def _output(self, name: str, values: Mapping[str, Operand]) -> tf.Tensor:
        value = values.get(name)
        if not isinstance(value, Value) or value.images != Images(0):
            raise DataError(
                f"{self._path}: expected the output {name!r} to have a row for every image, got "
                "none or another order; export the network with its logits as output"
            )
        return value.in_onnx_order()
