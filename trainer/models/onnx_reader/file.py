"""An ONNX file to its graph: parsed, checked, its weights read; nothing in it is run.

What the file says is not trusted: weights are read only from the model's own folder, sizes must
agree with the bytes that are there, and functions are put in place only up to a bound.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import DataError

OPSETS = range(7, 26)
"""Versions of the standard's operators that are tested."""
NODES = 100_000
"""A bound on nodes, functions put in place."""
FLOW = {"If", "Loop", "Scan", "SequenceMap"}
STANDARD = {"", "ai.onnx"}


@dataclass(frozen=True)
class OnnxNode:
    """A node as the file has it."""

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class OnnxGraph:
    """The graph of a file.

    input_shape: None where a size is open.
    input_type: NumPy's type.
    weights: arrays by name.
    opset: version of the standard's operators.
    files: other files with weights.
    """

    path: Path
    input_name: str
    input_shape: tuple[int | None, ...]
    input_type: np.dtype
    output_names: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]
    weights: dict[str, np.ndarray]
    opset: int
    files: tuple[Path, ...]


def read_graph(path: Path) -> OnnxGraph:
    """The graph of an ONNX file.

    Raises:
        DataError: the package `onnx` is missing, or the file cannot be used.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise DataError(
            f"{path}: expected the package onnx for a model of this format, got none; install it: "
            "pip install 'gauntlet-tfx[onnx]'"
        ) from error
    try:
        return _graph(path, _parse(path))
    except (DataError, MemoryError):
        raise
    except Exception as error:  # parsers of damaged files raise whatever they stumble over
        raise DataError(
            f"{path}: expected a whole ONNX model, got one that cannot be read: {error}; export "
            "or copy it again"
        ) from error


def _parse(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: expected a file that can be read, got: {error}") from error
    except DecodeError as error:
        raise DataError(
            f"{path}: expected an ONNX model, got a file that is none or was cut off; export or "
            "copy it again"
        ) from error
    if not (model.ir_version and model.opset_import and model.graph.node and model.graph.output):
        raise DataError(
            f"{path}: expected an ONNX model with a version, operators and an output, got a file "
            "that is none or was cut off; export or copy it again"
        )
    return model


def _graph(path: Path, model: Any) -> OnnxGraph:
    from onnx import TensorProto, helper

    opset = _opset(path, model)
    if model.functions:
        model = _inlined(path, model)
    graph = model.graph
    if graph.sparse_initializer:
        raise DataError(f"{path}: expected dense weights, got sparse ones; export them dense")
    read: dict[Path, int] = {}
    weights = {tensor.name: _array(path, tensor, read) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise DataError(
            f"{path}: expected one input, the images, got {names}; export the network with that "
            "input alone"
        )
    tensor = inputs[0].type.tensor_type
    if not tensor.HasField("shape") or tensor.elem_type == TensorProto.STRING:
        raise DataError(
            f"{path}: expected an input of numbers with a shape, got {inputs[0].name!r} without; "
            "export the network with the shape of its images"
        )
    nodes = tuple(_nodes(path, graph, read))
    return OnnxGraph(
        path=path,
        input_name=inputs[0].name,
        input_shape=tuple(map(_size, tensor.shape.dim)),
        input_type=np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)),
        output_names=tuple(value.name for value in graph.output),
        nodes=nodes,
        weights=weights,
        opset=opset,
        files=tuple(sorted(read)),
    )


def _size(dimension: Any) -> int | None:
    """A size; exporters write open ones as a name, as nothing, as 0 or as -1."""
    return dimension.dim_value if dimension.dim_value > 0 else None


def _opset(path: Path, model: Any) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in STANDARD]
    if len(versions) != 1 or versions[0] not in OPSETS:
        got = ", ".join(map(str, versions)) or "none"
        raise DataError(
            f"{path}: expected opset {OPSETS[0]} to {OPSETS[-1]}, got {got}; export the network "
            "with another opset_version, 17 for example"
        )
    return versions[0]


def _inlined(path: Path, model: Any) -> Any:
    """The model with its functions put in place."""
    from onnx import inliner

    bodies = {(f.domain, f.name, f.overload): f.node for f in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}

    def size(nodes: Any, within: tuple[tuple[str, str, str], ...]) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, node.overload)
            if key in within or total > NODES:
                raise DataError(
                    f"{path}: expected functions that end, of at most {NODES} nodes together, got "
                    f"{node.op_type!r}; export the network with its functions inlined"
                )
            if key in bodies and key not in sizes:
                sizes[key] = size(bodies[key], (*within, key))
            total += sizes.get(key, 1)
        return total

    if size(model.graph.node, ()) > NODES:
        raise DataError(f"{path}: expected at most {NODES} nodes, got more with its functions")
    return inliner.inline_local_functions(model)


def _nodes(path: Path, graph: Any, read: dict[Path, int]) -> Iterator[OnnxNode]:
    from onnx import AttributeProto, helper

    for node in graph.node:
        name = node.name or ", ".join(node.output)
        if node.domain in STANDARD and node.op_type in FLOW:
            raise DataError(
                f"{path}: expected a network without control flow, got {node.op_type} (node "
                f"{name!r}); export it without branches and loops"
            )
        attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                value: Any = _array(path, attribute.t, read)
            else:
                value = helper.get_attribute_value(attribute)
            attributes[attribute.name] = _plain(value)
        yield OnnxNode(
            node.op_type, node.domain, name, tuple(node.input), tuple(node.output), attributes
        )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _array(path: Path, tensor: Any, read: dict[Path, int]) -> np.ndarray:
    """The numbers of a tensor, which must be as many as its sizes say; `read` counts the bytes
    that were read from each other file."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.STRING or tensor.HasField("segment"):
        raise DataError(f"{path}: expected numbers in {tensor.name!r}, got text or a segment")
    if any(size < 0 for size in tensor.dims):
        raise DataError(f"{path}: expected sizes in {tensor.name!r}, got {list(tensor.dims)}")
    if tensor.data_location == TensorProto.EXTERNAL:
        copy = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        copy.raw_data = _external_bytes(path, tensor, read)
        tensor = copy
    return np.asarray(numpy_helper.to_array(tensor))


def _external_bytes(path: Path, tensor: Any, read: dict[Path, int]) -> bytes:
    """The bytes of a tensor that lie in another file of the model's folder."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    folder = path.parent.resolve()
    file = (folder / entries["location"]).resolve()
    if not file.is_relative_to(folder):
        raise DataError(
            f"{path}: expected the weights {tensor.name!r} in the folder of the model, got "
            f"{entries['location']!r} outside of it; put them beside the model and export it again"
        )
    if not file.is_file():
        raise DataError(
            f"{path}: expected the file {entries['location']!r} with the weights beside the "
            "model, got none; copy it there too"
        )
    offset, present = int(entries.get("offset", 0)), file.stat().st_size
    length = int(entries.get("length", present - offset))
    if offset < 0 or length < 0 or offset + length > present:
        raise DataError(
            f"{path}: expected {offset + length} bytes in {entries['location']!r}, got {present}; "
            "copy the file again"
        )
    read[file] = read.get(file, 0) + length
    if read[file] > 2 * present:
        raise DataError(
            f"{path}: expected every weight to have bytes of its own in {entries['location']!r}, "
            "got the same ones again and again; export the network again"
        )
    with open(file, "rb") as opened:
        opened.seek(offset)
        return opened.read(length)
