"""That a model keeps nothing of what it was asked.

One that does is another model after an attack than before it: it can answer for a changed image as
it did for the original that it was shown first. No verdict on it holds for the copy that is served,
which was shown neither.
"""

import re
from typing import Any

import tensorflow as tf

from foundation.errors import DataError

CHANGES = re.compile(
    r"Assign(Add|Sub)?(VariableOp)?"
    r"|(Resource)?(CountUpTo|Scatter(Nd)?(Add|Sub|Mul|Div|Min|Max|Update))"
    r"|LookupTable(Insert|Import|Remove)(V2)?"
)
"""Operations that change a variable or a table which is there in the next call."""


def changing(graph: Any) -> list[str]:
    """The operations in a GraphDef, and in the functions that come with it, which change what the
    next call finds."""
    functions = (node for function in graph.library.function for node in function.node_def)
    names = {node.op for node in (*graph.node, *functions)}
    return sorted(name for name in names if CHANGES.fullmatch(name))


def refuse_memory(model: Any, image_shape: tuple[int, int, int], batch: int | None = None) -> None:
    """Raises DataError for a network that keeps something of the images which it is asked about.

    model: images, float32 [n, height, width, channels], to logits. batch: n, where it is fixed.
    """
    asked = tf.function(lambda x: model(x, training=False), autograph=False)
    spec = tf.TensorSpec([batch, *image_shape], tf.float32)
    _refuse(asked.get_concrete_function(spec).graph.as_graph_def(), "the model")


def refuse_memory_of_signatures(folder: str) -> None:
    """The same for all that a server would ask of a SavedModel."""
    for name, signature in tf.saved_model.load(folder).signatures.items():
        _refuse(signature.graph.as_graph_def(), f"the signature {name}")


def _refuse(graph: Any, what: str) -> None:
    if changes := changing(graph):
        raise DataError(
            f"{what} changes its own variables when it is asked ({', '.join(changes)}), so it can "
            "remember what it was shown, and no verdict on it holds for the copy that is served; "
            "export it without that, as with training=False"
        )
