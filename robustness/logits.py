"""Logits of a model that gives probabilities: what attacks and bounds need, and what it costs where
they cannot be had."""

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from foundation.errors import DataError
from robustness.bounds.trace import PASS_ON
from robustness.types import Images, ImagesTensor, Logits, LogitsTensor, Model

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


def as_logits(model: Model, image_shape: tuple[int, int, int], sample: Images) -> tuple[Model, str]:
    """The model as a function to logits, and a note for the user where its own output was
    probabilities.

    Args:
        model: images to logits or probabilities.
        image_shape: height, width, channels.
        sample: images that tell which of the two the output is; at least one.

    Raises:
        DataError: there is no image in the sample.
    """
    if not len(sample):
        raise DataError("without an image nobody can tell logits from probabilities")
    output = np.asarray(model(tf.constant(sample), training=False))
    if not _are_probabilities(output):
        return model, ""
    without = _without_softmax(model, image_shape)
    if without is not None:
        return without, SOFTMAX_REMOVED
    return _logarithm(model), LOGARITHM


def _are_probabilities(output: Logits) -> bool:
    """Whether nothing is negative, and each row sums to one."""
    if not np.all(np.isfinite(output)) or np.any(output < 0):
        return False
    return bool(np.all(np.abs(output.sum(axis=1) - 1.0) <= 1e-3))


def _logarithm(model: Model) -> Model:
    """The logarithm of the probabilities, as far as float32 can tell them from 0."""
    smallest = np.finfo(np.float32).tiny

    def logits(x: ImagesTensor, training: bool = False) -> LogitsTensor:
        return tf.math.log(tf.maximum(model(x, training=training), smallest))

    return logits


def _without_softmax(model: Model, image_shape: tuple[int, int, int]) -> Model | None:
    """The graph up to the operand of the softmax that ends it; None where none does."""
    spec = tf.TensorSpec([None, *image_shape], tf.float32)
    whole = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec)
    frozen = convert_variables_to_constants_v2(whole)
    output = frozen.outputs[0]
    while output.op.type in PASS_ON:
        output = output.op.inputs[0]
    if output.op.type != "Softmax":
        return None
    return _part(frozen.graph.as_graph_def(), frozen.inputs[0].name, output.op.inputs[0].name)


def _part(graph: tf.compat.v1.GraphDef, image: str, logits: str) -> Model:
    """A graph from the tensor of one name to that of another."""
    imported = tf.compat.v1.wrap_function(
        lambda: tf.graph_util.import_graph_def(graph, name=""), []
    )
    part = imported.prune(*map(imported.graph.get_tensor_by_name, (image, logits)))
    return lambda x, training=False: part(x)
