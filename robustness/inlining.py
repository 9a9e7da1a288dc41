"""A graph function without the functions that it calls, as operations in the graph of whoever calls
it.

What reads graphs (bounds, what takes a squashing off, what measures memory) sees the operations
themselves; variables stay variables.
"""

import copy
import itertools
from typing import TypeAlias

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework.convert_to_constants import _run_inline_graph_optimization

Concrete: TypeAlias = tf.types.experimental.ConcreteFunction

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
"""Operations that call a function of a graph."""

MARKS = ("_XlaMustCompile", "_noinline")
"""What keeps a call from being inlined: Keras compiles convolutions in groups whole, which have no
kernel of their own on a CPU."""

NUMBERS = itertools.count()


class Inlined:
    """A concrete function of one tensor; calling it, inside of a graph, adds its operations there.

    A gradient tape does not see operations that are added like this; the gradient of a function
    around them does. Some are there to be read, and not to be run (`only_to_read`).
    """

    def __init__(self, concrete: Concrete) -> None:
        self._concrete = concrete  # its variables live as long as it does
        self._captures = [(outer, inner.name) for outer, inner in concrete.graph.captures]
        captured = [name for _, name in self._captures]
        (self._input,) = (t.name for t in concrete.inputs if t.name not in captured)
        self._outputs = [output.name for output in concrete.outputs]
        graph = _unmarked(concrete.graph.as_graph_def())
        whole = tf.compat.v1.wrap_function(
            lambda: tf.graph_util.import_graph_def(graph, name=""), []
        )
        pruned = whole.prune([*captured, self._input], self._outputs)
        self._graph = _run_inline_graph_optimization(pruned, False, False)
        _rename(self._graph, f"_inlined_{next(NUMBERS)}")
        # What runs a graph looks bodies of loops and branches up by name, and not in the graph; so
        # they stay as long as the process.
        for function in self._graph.library.function:
            context.context().add_function_def(function)

    def __call__(self, x: tf.Tensor) -> list[tf.Tensor]:
        graph = tf.compat.v1.get_default_graph()
        given = {name: graph.capture(outer) for outer, name in self._captures} | {self._input: x}
        outputs: list[tf.Tensor] = tf.graph_util.import_graph_def(
            self._graph, input_map=given, return_elements=self._outputs, name="inlined"
        )
        return outputs


def inlined(concrete: Concrete, spec: tf.TensorSpec) -> Concrete:
    """The function of a tensor of that specification, without the calls in it; see `Inlined`. With
    them, where TensorFlow's own inlining fails."""
    if not has_calls(concrete):
        return concrete
    try:
        body = Inlined(concrete)
        return tf.function(body.__call__, autograph=False).get_concrete_function(spec)
    except (ValueError, tf.errors.OpError):
        return concrete


def has_calls(concrete: Concrete) -> bool:
    """Whether a concrete function calls others."""
    return any(op.type in CALLS for op in concrete.graph.get_operations())


def only_to_read(concrete: Concrete) -> bool:
    """Whether what `Inlined` makes of a function can be read, and not run: a function that it calls
    is compiled as a whole."""
    functions = concrete.graph.as_graph_def().library.function
    return any(mark in function.attr for function in functions for mark in MARKS)


def has_loop_of_tensorflow_1(concrete: Concrete) -> bool:
    """Whether there is a loop of frames in a function, or in one that it calls."""
    graph = concrete.graph.as_graph_def()
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    return any(node.op == "Enter" for body in bodies for node in body)


def _rename(graph: tf.compat.v1.GraphDef, suffix: str) -> None:
    """Give the functions that are left, as bodies of loops and branches, names of their own: what
    was inlined in them makes them others than those of the same name."""
    library = graph.library
    names = {function.signature.name for function in library.function}
    nodes = [*graph.node, *(node for function in library.function for node in function.node_def)]
    for node in nodes:
        if node.op in names:
            node.op += suffix
        for value in node.attr.values():
            for function in (value.func, *value.list.func):
                if function.name in names:
                    function.name += suffix
    for function in library.function:
        function.signature.name += suffix
    for gradient in library.gradient:
        gradient.function_name += suffix * (gradient.function_name in names)
        gradient.gradient_func += suffix * (gradient.gradient_func in names)


def _unmarked(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
    """The graph with calls that may be inlined, of copies of its functions: under their own names
    these are as they were."""
    copies = copy.deepcopy(list(graph.library.function))
    for function in copies:
        function.signature.name += "_unmarked"
        for mark in MARKS:
            function.attr.pop(mark, None)
    for node in [*graph.node, *(node for function in copies for node in function.node_def)]:
        if node.op in CALLS:
            node.attr["f"].func.name += "_unmarked"
            node.attr.pop(MARKS[0], None)
    graph.library.function.extend(copies)
    return graph
