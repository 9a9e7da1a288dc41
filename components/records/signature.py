"""The signature by which the Evaluator asks a model about rows; for Trainers other than ours, which
export it beside their own."""

from collections.abc import Callable

import tensorflow as tf

from components.records.record import IMAGE

NAME = "transformed_examples"


def transformed_examples(
    model: Callable[[tf.Tensor], tf.Tensor], image_shape: tuple[int, int, int]
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """The signature, from `examples`, serialized rows, to `logits` and `probabilities`.

    Args:
        model: Keras model from images in [0, 1] to logits.
        image_shape: height, width, channels.
    """
    spec = {IMAGE: tf.io.FixedLenFeature(image_shape, tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def signature(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = model(tf.io.parse_example(examples, spec)[IMAGE])
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    return signature
