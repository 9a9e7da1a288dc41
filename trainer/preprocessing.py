"""The Transform node's graph: encoded image and label to the feature dictionary of the models.

Workers import this module, so it stays light. It knows nothing of splits, models or attacks.
"""

from typing import TypedDict

import tensorflow as tf

from robustness.types import ImagesTensor


class TransformSettings(TypedDict):
    """What TFX hands on to `preprocessing_fn`. image_shape: height, width, channels."""

    image_shape: list[int]


def decode_images(encoded: tf.Tensor, image_shape: tuple[int, int, int]) -> ImagesTensor:
    """PNG bytes, string [n], to pixels in [0, 1].

    Raises (when the graph runs):
        InvalidArgumentError: bytes that are no PNG, or an image of another shape.
    """
    height, width, channels = image_shape

    def decode(one: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.io.decode_png(one, channels=channels), [height, width, channels])

    pixels = tf.map_fn(decode, encoded, fn_output_signature=tf.TensorSpec(image_shape, tf.uint8))
    return tf.cast(pixels, tf.float32) / 255.0


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: TransformSettings
) -> dict[str, tf.Tensor]:
    """The function that TFX's Transform traces.

    Args:
        inputs: `image` string [n, 1], `label` int64 [n, 1]; other raw features are dropped.
        custom_config: shape of the images.

    Returns:
        `image` float32 [n, h, w, c] in [0, 1], `label` int64 [n].
    """
    height, width, channels = custom_config["image_shape"]
    return {
        "image": decode_images(tf.reshape(inputs["image"], [-1]), (height, width, channels)),
        "label": tf.reshape(inputs["label"], [-1]),
    }
