"""A model's graph to a list of layers that bounds can go through.

The operations are read from the traced graph itself, the one that the attacks differentiate and
that is served, so any Keras 2 model, Keras 3 model, SavedModel or function will do. An operation
without a bound is an error that names it. Weights are looked up at each use: bounds follow
variables.
"""

from collections.abc import Hashable, Iterator, Sequence

import tensorflow as tf

from robustness.bounds import layers, patterns
from robustness.bounds.graph import PASS_ON, Graph, NoBoundError, passed_on
from robustness.bounds.layers import Layer
from robustness.bounds.rules import RULES, SEVERAL_OUTPUTS, Node
from robustness.inlining import inlined
from robustness.types import Model

__all__ = ["NoBoundError", "trace"]


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
    one_batch = getattr(model, "one_batch", model)  # of one that takes batches of one size
    concrete = tf.function(lambda x: one_batch(x, training=False)).get_concrete_function(spec)
    owned = getattr(model, "variables", ()) if variables else ()
    graph = Graph(inlined(concrete, spec), concrete.graph.variables, owned, variables)
    return _Reader(graph).read()


class _Reader:
    """Walks from the output of a graph to its input."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._layers: list[Layer] = [layers.Input()]
        self._places: dict[Hashable, int] = {graph.image.ref(): 0}
        self._patterns: dict[Hashable, patterns.Pattern | None] = {}

    def read(self) -> list[Layer]:
        """All layers, from the image to the logits."""
        output = self._graph.output
        while output.op.type in PASS_ON or output.op.type == "Softmax":
            output = passed_on(output)
        for tensor in self._in_order(output):
            self._add(tensor)
        if self._places.get(output.ref()) != len(self._layers) - 1:
            raise NoBoundError("the output of the model does not depend on the image")
        return self._layers

    def _in_order(self, output: tf.Tensor) -> Iterator[tf.Tensor]:
        """All tensors between image and output that a layer is made of, operands first."""
        seen, stack = {self._graph.image.ref()}, [(output, False)]
        while stack:
            tensor, expanded = stack.pop()
            if expanded:
                yield tensor
            elif tensor.ref() not in seen and self._graph.from_image(tensor):
                seen.add(tensor.ref())
                stack.append((tensor, True))
                stack.extend((operand, False) for operand in self._operands(tensor))

    def _operands(self, tensor: tf.Tensor) -> list[tf.Tensor]:
        """What a tensor is computed from, as far as it depends on the image."""
        if tensor.op.type in PASS_ON:
            return [passed_on(tensor)]
        pattern = self._pattern(tensor)
        if pattern:
            return [pattern.operand]
        return [operand for operand in tensor.op.inputs if self._graph.from_image(operand)]

    def _pattern(self, tensor: tf.Tensor) -> patterns.Pattern | None:
        """What several operations together are, where they are bounded as one."""
        if tensor.ref() not in self._patterns:
            self._patterns[tensor.ref()] = patterns.find(tensor, self._graph)
        return self._patterns[tensor.ref()]

    def _add(self, tensor: tf.Tensor) -> None:
        """Append the layers of one tensor, or note that it is the same as its operand."""
        op, places = tensor.op, [self._places[each.ref()] for each in self._operands(tensor)]
        if op.type in PASS_ON:
            (self._places[tensor.ref()],) = places
            return
        node, pattern = Node(tensor, places, self._graph, len(self._layers)), self._pattern(tensor)
        rule = pattern.rule if pattern else RULES.get(op.type)
        if rule is None or (tensor.value_index != 0 and op.type not in SEVERAL_OUTPUTS):
            raise NoBoundError(f"no bound is known for the operation {op.type} (named {op.name!r})")
        self._layers.extend(rule(node))
        self._places[tensor.ref()] = len(self._layers) - 1
