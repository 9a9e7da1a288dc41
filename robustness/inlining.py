"""A graph function without its nested functions, as operations in the graph of whoever calls it.

What reads graphs (bounds, what takes a squashing off, what measures memory) sees the operations
themselves; variables stay variables.
"""

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import _run_inline_graph_optimization

CALLS = {"PartitionedCall", "StatefulPartitionedCall"}
"""Operations that call a function of a graph."""


class Inlined:
    """A concrete function of one tensor; calling it, inside of a graph, adds its operations there.

    A gradient tape does not see operations that are added like this; the gradient of a function
    around them does.
    """

    def __init__(self, concrete: tf.types.experimental.ConcreteFunction) -> None:
        self._concrete = concrete  # its variables live as long as it does
        self._graph = _run_inline_graph_optimization(
            concrete, lower_control_flow=False, aggressive_inlining=True
        )
        self._captures = [(outer, inner.name) for outer, inner in concrete.graph.captures]
        captured = {name for _, name in self._captures}
        (self._input,) = (t.name for t in concrete.inputs if t.name not in captured)
        self._outputs = [output.name for output in concrete.outputs]

    def __call__(self, x: tf.Tensor) -> list[tf.Tensor]:
        graph = tf.compat.v1.get_default_graph()
        given = {name: graph.capture(outer) for outer, name in self._captures} | {self._input: x}
        outputs: list[tf.Tensor] = tf.graph_util.import_graph_def(
            self._graph, input_map=given, return_elements=self._outputs
        )
        return outputs


def has_calls(concrete: tf.types.experimental.ConcreteFunction) -> bool:
    """Whether a concrete function calls others."""
    return any(op.type in CALLS for op in concrete.graph.get_operations())
