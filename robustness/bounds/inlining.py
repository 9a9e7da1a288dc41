"""Functions that a graph calls, put into the graph itself; variables stay variables."""

import copy
from typing import TypeAlias

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import _run_inline_graph_optimization

Concrete: TypeAlias = tf.types.experimental.ConcreteFunction

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
MARKS = ("_XlaMustCompile", "_noinline")
"""What keeps a call from being inlined: Keras compiles convolutions in groups whole."""


def inlined(concrete: Concrete, spec: tf.TensorSpec) -> Concrete:
    """The function of an image without the calls in it."""
    if not any(op.type in CALLS for op in concrete.graph.get_operations()):
        return concrete
    captured = {inner.name: outer for outer, inner in concrete.graph.captures}
    image = next(tensor.name for tensor in concrete.inputs if tensor.name not in captured)
    output = tf.nest.flatten(concrete.outputs)[0].name
    graph = _unmarked(concrete.graph.as_graph_def())
    whole = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(graph, name=""), [])
    flat = _run_inline_graph_optimization(whole.prune([*captured, image], [output]), False, False)

    def model(x: tf.Tensor) -> tf.Tensor:
        capture = tf.compat.v1.get_default_graph().capture
        sources = {name: capture(outer) for name, outer in captured.items()} | {image: x}
        (logits,) = tf.graph_util.import_graph_def(flat, sources, [output], name="inlined")
        return logits

    return tf.function(model, autograph=False).get_concrete_function(spec)


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
