"""Logits of a model that gives probabilities: what attacks and bounds need, and what it costs where
they cannot be had."""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from robustness.bounds.trace import PASS_ON
from robustness.types import FloatArray, Model

SOFTMAX_REMOVED = (
    "The model gives probabilities. The softmax at its end was taken off; attacks and bounds use "
    "the logits in front of it, as they must: a softmax saturates in float32 and hides gradients."
)
LOGARITHM = (
    "The model gives probabilities, and no softmax operation ends its graph. Attacks use the "
    "logarithm of the probabilities: where they round to 0 or 1 in float32, gradients vanish, "
    "attacks grow weaker than they are on logits, and the accuracies under attack are too high. "
    "Export the model with logits instead."
)


def as_logits(
    model: Model, image_shape: tuple[int, int, int], sample: FloatArray
) -> tuple[Model, str]:
    """The model as a function to logits, and a note for the user where its own output was
    probabilities.

    Args:
        model: float32 [n, h, w, c] to logits or probabilities, float32 [n, k].
        image_shape: height, width, channels.
        sample: float32 [n, h, w, c], images that tell which of the two the output is.
    """
    output = np.asarray(model(tf.constant(sample), training=False))
    if (
        not np.all(np.isfinite(output))
        or np.any(output < 0)
        or np.any(np.abs(output.sum(axis=1) - 1.0) > 1e-3)
    ):
        return model, ""
    without = _without_softmax(model, image_shape)
    if without is not None:
        return without, SOFTMAX_REMOVED
    smallest = np.finfo(np.float32).tiny
    return lambda x, training=False: tf.math.log(
        tf.maximum(model(x, training=training), smallest)
    ), LOGARITHM


def _without_softmax(model: Model, image_shape: tuple[int, int, int]) -> Model | None:
    """The graph up to the operand of the softmax that ends it; None where none does."""
    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    frozen = convert_variables_to_constants_v2(
        tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    )
    output = frozen.outputs[0]
    while output.op.type in PASS_ON:
        output = output.op.inputs[0]
    if output.op.type != "Softmax":
        return None
    graph = frozen.graph.as_graph_def()
    whole: Any = tf.compat.v1.wrap_function(
        lambda: tf.graph_util.import_graph_def(graph, name=""), []
    )
    image, logits = (
        whole.graph.get_tensor_by_name(t.name) for t in (frozen.inputs[0], output.op.inputs[0])
    )
    pruned = whole.prune(image, logits)
    return lambda x, training=False: pruned(x)
