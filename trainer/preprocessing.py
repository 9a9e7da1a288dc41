"""The Transform node's graph: encoded image and label to the feature dictionary of the models.

Workers import this module, so it stays light. It knows nothing of splits, models or attacks.
"""

from typing import NotRequired, TypedDict

import numpy as np
import tensorflow as tf

from robustness.types import ImagesTensor
from trainer.resizing import resized

SIGNATURE = np.frombuffer(b"\x89PNG\r\n\x1a\n", np.uint8)
"""The first bytes of a PNG."""


class TransformSettings(TypedDict):
    """What TFX hands on to `preprocessing_fn`. image_shape: height, width, channels. resize:
    whether images of other sizes are brought to it; otherwise they are refused."""

    image_shape: list[int]
    resize: NotRequired[bool]


def decode_images(
    encoded: tf.Tensor, image_shape: tuple[int, int, int], resize: bool = False
) -> ImagesTensor:
    """PNG bytes, string [n], to pixels in [0, 1].

    Args:
        resize: whether images of other sizes are brought to this shape.

    Raises (when the graph runs):
        InvalidArgumentError: bytes that are no PNG, an image whose pixels would be altered, or one
            of another shape.
    """
    height, width, channels = image_shape
    with tf.control_dependencies(exact(encoded)):
        encoded = tf.identity(encoded)

    def decode(one: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_png(one, channels=channels)
        if resize:
            pixels = resized(pixels, (height, width))
        return tf.ensure_shape(pixels, [height, width, channels])

    pixels = tf.map_fn(decode, encoded, fn_output_signature=tf.TensorSpec(image_shape, tf.uint8))
    return tf.cast(pixels, tf.float32) / 255.0


def exact(encoded: tf.Tensor) -> list[tf.Operation]:
    """Checks that decoding as PNG with 8 bits a channel alters nothing: TensorFlow would decode
    JPEG too, with other pixels than those that were evaluated, and drop lower bits and alpha."""
    head = tf.io.decode_raw(tf.strings.substr(encoded, 0, 26), tf.uint8, fixed_length=26)
    depth, colour = head[:, 24], head[:, 25]
    transparent = tf.strings.regex_full_match(
        encoded, "(?s).*tRNS.*"
    )  # in a palette, or one colour
    with_alpha = tf.boolean_mask(encoded, (tf.bitwise.bitwise_and(colour, 4) > 0) | transparent)

    def lowest(one: tf.Tensor) -> tf.Tensor:
        return tf.reduce_min(tf.io.decode_png(one, channels=4)[..., 3])

    alpha = tf.map_fn(lowest, with_alpha, fn_output_signature=tf.uint8)
    return [
        tf.debugging.assert_equal(head[:, :8], SIGNATURE, "expected images encoded as PNG"),
        tf.debugging.assert_less(depth, tf.constant(9, tf.uint8), "expected 8 bits a channel"),
        tf.debugging.assert_equal(alpha, tf.constant(255, tf.uint8), "expected no transparency"),
    ]


def preprocessing_fn(
    inputs: dict[str, tf.Tensor], custom_config: TransformSettings
) -> dict[str, tf.Tensor]:
    """The function that TFX's Transform traces.

    Args:
        inputs: `image` string [n, 1], `label` int64 [n, 1]; other raw features are dropped.
        custom_config: shape of the images, and whether others are brought to it.

    Returns:
        `image` float32 [n, h, w, c] in [0, 1], `label` int64 [n].
    """
    height, width, channels = custom_config["image_shape"]
    encoded = tf.reshape(inputs["image"], [-1])
    resize = custom_config.get("resize", False)
    return {
        "image": decode_images(encoded, (height, width, channels), resize),
        "label": tf.reshape(inputs["label"], [-1]),
    }
