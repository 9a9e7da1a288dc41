"""What the graph of a SavedModel would do, read before anything of it is loaded.

A graph is a program: its operations read and write files as the user who runs it. All nodes of all
graphs, and of all functions that they or nobody call, are compared with `operations.computing`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import DecodeError
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from foundation.errors import DataError
from trainer.models.operations import READS, WRITES, computing

BINARY, TEXT, IN_PARTS = "saved_model.pb", "saved_model.pbtxt", "saved_model.cpb"
"""The files from one of which TensorFlow takes the graph, in this order."""

SHOWN = 3
"""Operations that a message names."""


def refuse_operations(folder: Path) -> None:
    """Look at every file from which TensorFlow could take the graph.

    Raises:
        DataError: one of them cannot be read, or holds what does more than compute; the message
            names operation and function.
    """
    if (folder / IN_PARTS).exists():
        raise DataError(
            f"{folder / IN_PARTS} is a graph in parts, which is not read; save it whole"
        )
    for name in (BINARY, TEXT):
        if (folder / name).exists():
            _refuse(folder / name)


def _refuse(path: Path) -> None:
    found = [each for graph in _parsed(path).meta_graphs for each in _Graph(graph).reaching_out()]
    if found:
        named = ", ".join(dict.fromkeys(found[:SHOWN]))
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise DataError(
            f"{path} holds operations that do more than compute: {named}{more}. They would run as "
            "you, on your files. If you know where the model comes from and want that, add --trust"
        )


def _parsed(path: Path) -> SavedModel:
    content = SavedModel()
    try:
        if path.name == TEXT:
            text_format.Parse(path.read_text("utf-8"), content)
        else:
            content.ParseFromString(path.read_bytes())
    except (DecodeError, text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"{path} is damaged: it cannot be read ({error})") from error
    if not content.meta_graphs:
        raise DataError(f"{path} is damaged: there is no graph in it")
    return content


@dataclass(frozen=True)
class _Part:
    """Nodes, and functions that they call."""

    nodes: frozenset[str]
    functions: frozenset[str]


class _Graph:
    """One graph with its functions, and which of both belong to its saver.

    The saver is what writes and reads weights: loading a model of TensorFlow 1 runs how it reads.
    An operation that reads is its own where nothing else needs it; one that writes, where reading
    does not need it either.
    """

    def __init__(self, graph: MetaGraphDef) -> None:
        self._nodes = {node.name: node for node in graph.graph_def.node}
        self._functions = {
            function.signature.name: list(function.node_def)
            for function in graph.graph_def.library.function
        }
        self._gradients = {
            gradient.function_name: gradient.gradient_func
            for gradient in graph.graph_def.library.gradient
        }
        saver = graph.saver_def
        self._restoring = self._part([saver.restore_op_name])
        self._saving = self._part([saver.save_tensor_name])
        own = self._restoring.nodes | self._saving.nodes
        concrete = graph.object_graph_def.concrete_functions
        self._asked = self._part(
            [*_entries(graph), *(name for name in self._nodes if name not in own)], concrete
        )

    def reaching_out(self) -> Iterator[str]:
        """What does more than compute, with the function that holds it."""
        for node in self._nodes.values():
            if problem := self._problem(node, lambda part: part.nodes, node.name):
                yield f"{problem} ({node.name})"
        for name, nodes in self._functions.items():
            for node in nodes:
                if problem := self._problem(node, lambda part: part.functions, name):
                    yield f"{problem} (in the function {name})"

    def _problem(self, node: NodeDef, names: Any, holder: str) -> str:
        """What is wrong with a node; '' where nothing is. holder: its own name in a graph, that of
        the function otherwise. names: how a part has those."""
        asked, restoring, saving = map(names, (self._asked, self._restoring, self._saving))
        if missing := next((f for f in _called(node) if f not in self._functions), ""):
            return f"{node.op} of a function {missing} that is not there"
        if node.op in computing() or node.op in self._functions:
            return ""
        reads = node.op in READS and holder in restoring | saving
        writes = node.op in WRITES and holder in saving - restoring
        return "" if (reads or writes) and holder not in asked else node.op

    def _part(self, tensors: Iterable[str], functions: Iterable[str] = ()) -> _Part:
        """All that is needed for some tensors, and what some functions call."""
        nodes = _closure(map(_node_of, tensors), self._inputs)
        called = [
            f for name in nodes if name in self._nodes for f in self._calls(self._nodes[name])
        ]
        reached = _closure([*functions, *called], self._callees)
        return _Part(nodes, reached)

    def _inputs(self, name: str) -> list[str]:
        node = self._nodes.get(name)
        return [] if node is None else [_node_of(tensor) for tensor in node.input]

    def _callees(self, function: str) -> list[str]:
        called = [f for node in self._functions.get(function, ()) for f in self._calls(node)]
        gradient = self._gradients.get(function)
        return [*called, gradient] if gradient else called

    def _calls(self, node: NodeDef) -> list[str]:
        return [node.op, *_called(node)] if node.op in self._functions else _called(node)


def _closure(names: Iterable[str], following: Any) -> frozenset[str]:
    """Names, what follows from them, what follows from that, and so on."""
    seen: set[str] = set()
    left = [name for name in names if name]
    while left:
        name = left.pop()
        if name not in seen:
            seen.add(name)
            left += following(name)
    return frozenset(seen)


def _node_of(tensor: str) -> str:
    """The node that gives a tensor, or that an input waits for."""
    return tensor.removeprefix("^").partition(":")[0]


def _called(node: NodeDef) -> list[str]:
    """The functions that a node names."""
    names = [name for value in node.attr.values() for name in _functions_in(value)]
    return [name for name in names if name]


def _functions_in(value: Any) -> Iterator[str]:
    for function in (value.func, *value.list.func):
        yield function.name
        for inner in function.attr.values():
            yield from _functions_in(inner)


def _entries(graph: MetaGraphDef) -> Iterator[str]:
    """The tensors and nodes that a graph is asked through, or that loading it runs."""
    for signature in graph.signature_def.values():
        for side in (signature.inputs, signature.outputs):
            yield from _tensors(side)
    for collection in graph.collection_def.values():
        yield from collection.node_list.value


def _tensors(side: Mapping[str, Any]) -> Iterator[str]:
    """The names of all tensors that a signature takes or gives."""
    for info in side.values():
        yield info.name
        sparse = info.coo_sparse
        yield from (sparse.values_tensor_name, sparse.indices_tensor_name)
        yield sparse.dense_shape_tensor_name
        yield from (component.name for component in info.composite_tensor.components)
