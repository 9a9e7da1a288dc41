"""The Transform node's graph: encoded image and label to the feature dictionary of the models.

Workers import this module, so it stays light. It knows nothing of splits, models or attacks.
"""

from collections.abc import Callable
from typing import NamedTuple, NotRequired, TypedDict

import numpy as np
import tensorflow as tf

from robustness.types import ImagesTensor
from trainer.limits import MAX_PIXELS
from trainer.resizing import resized

BEGIN = np.frombuffer(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", np.uint8)
"""The first bytes of a PNG: its signature, and that its head follows."""

HEAD = 41
"""Bytes that are read before anything is decoded: `BEGIN`; from 16 on width and height (big-endian,
of 4 bytes each), bits a channel, type of the colours; from 37 on the name of the second chunk."""

PIXELS = np.frombuffer(b"IDAT", np.uint8)
"""Name of the chunk with the pixels; nothing after it changes what they mean."""

COLOURS, ALPHA = 2, 4
"""Bits of the type of the colours; a palette has the first one."""

UNUSUAL = r"(?s)\C*(?:tRNS|acTL)\C*"
"""A PNG that may have clear colours or several pictures: in RE2, C stands for any byte, and a dot
does not."""

ANIMATION = r"(?s)\C*\x00\x00\x00\x08acTL\C*"
"""A PNG of several pictures, of which TensorFlow decodes the first."""

AT_ONCE = 10
"""Images that TensorFlow maps at the same time, unless it is told how many."""


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
            of another shape. What the head of an image shows is known before any is decoded, so
            that a small file cannot claim all memory.
    """
    height, width, channels = image_shape
    expected = expected_image(image_shape, resize)
    images = with_checked_heads(encoded, expected, None if resize else (height, width))
    encoded = exact(images, expected, channels)

    def decode(one: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_png(one, channels=channels)
        if resize:
            pixels = resized(pixels, (height, width))
        return tf.ensure_shape(pixels, [height, width, channels])

    pixels = mapped(decode, encoded, tf.TensorSpec(image_shape, tf.uint8), images.large)
    return tf.cast(pixels, tf.float32) / 255.0


def expected_image(image_shape: tuple[int, int, int], resize: bool) -> str:
    """What an image must be, as errors say it."""
    height, width, channels = image_shape
    size = (
        f"at most {MAX_PIXELS:,} pixels"
        if resize
        else f"{height} x {width} pixels (height x width)"
    )
    colours = "in grey" if channels == 1 else "with colours"
    return f"expected a PNG of {size}, {colours}, with 8 bits a channel, got"


class Images(NamedTuple):
    """Images whose heads are right. encoded: string [n]. head: int64 [n, HEAD]. large: whether
    several of them at once would take too much memory."""

    encoded: tf.Tensor
    head: tf.Tensor
    large: tf.Tensor


def with_checked_heads(encoded: tf.Tensor, expected: str, size: tuple[int, int] | None) -> Images:
    """What the heads of images say, once they are those of PNGs that are taken.

    expected: from `expected_image`. size: height and width; None for any, within `MAX_PIXELS`.
    """
    begin = tf.strings.substr(encoded, 0, HEAD)
    head = tf.cast(tf.io.decode_raw(begin, tf.uint8, fixed_length=HEAD), tf.int64)
    is_png = tf.reduce_all(head[:, : len(BEGIN)] == BEGIN.astype(np.int64), axis=1)
    head = require(is_png, f"{expected} something else", head)
    head = require(head[:, 24] <= 8, f"{expected} more bits", head)
    width, height = (
        tf.reduce_sum(head[:, place : place + 4] * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)
        for place in (16, 20)
    )
    if size is None:
        # Each side too: the product of both might not fit.
        fits = (height <= MAX_PIXELS) & (width <= MAX_PIXELS) & (height * width <= MAX_PIXELS)
    else:
        fits = (height == size[0]) & (width == size[1])
    other = tf.boolean_mask(tf.stack([height, width], axis=1), ~fits)[:1]
    got = tf.strings.reduce_join(tf.strings.as_string(other), separator=" x ")
    message = tf.strings.join([f"{expected} ", got])
    large = tf.reduce_any(height * width > MAX_PIXELS // AT_ONCE)
    return Images(require(fits, message, encoded), head, large)


def exact(images: Images, expected: str, channels: int) -> tf.Tensor:
    """The same bytes, once it is known that decoding alters nothing: TensorFlow would drop alpha,
    make grey of colours, and leave out all pictures of an animation except the first."""
    encoded, head, large = images
    plain = tf.reduce_all(head[:, 37:] == PIXELS.astype(np.int64), axis=1)
    unclear = tf.strings.regex_full_match(tf.where(plain, "", encoded), UNUSUAL)
    animated = tf.strings.regex_full_match(tf.boolean_mask(encoded, unclear), ANIMATION)
    encoded = require(~animated, f"{expected} an animation", encoded)
    for bit in (ALPHA, COLOURS) if channels == 1 else (ALPHA,):
        unclear |= tf.bitwise.bitwise_and(head[:, 25], tf.constant(bit, tf.int64)) > 0

    def extremes(one: tf.Tensor) -> tf.Tensor:
        """The lowest alpha, and by how much the colours of a pixel differ at most."""
        pixels = tf.io.decode_png(one, channels=4)
        spread = tf.reduce_max(pixels[..., :3], axis=2) - tf.reduce_min(pixels[..., :3], axis=2)
        return tf.stack([tf.reduce_min(pixels[..., 3]), tf.reduce_max(spread)])

    unclear_ones = tf.boolean_mask(encoded, unclear)
    found = mapped(extremes, unclear_ones, tf.TensorSpec([2], tf.uint8), large)
    encoded = require(found[:, 0] == 255, f"{expected} transparency", encoded)
    if channels == 1:
        encoded = require(found[:, 1] == 0, f"{expected} colours", encoded)
    return encoded


def mapped(
    function: Callable[[tf.Tensor], tf.Tensor],
    encoded: tf.Tensor,
    made: tf.TensorSpec,
    large: tf.Tensor,
) -> tf.Tensor:
    """What the function makes of each image; of large ones, one is in memory at a time."""

    def run(at_once: int | None) -> tf.Tensor:
        return tf.map_fn(function, encoded, fn_output_signature=made, parallel_iterations=at_once)

    return tf.cond(large, lambda: run(1), lambda: run(None))


def require(holds: tf.Tensor, message: str | tf.Tensor, result: tf.Tensor) -> tf.Tensor:
    """The result, once that holds of all images; an error with the message otherwise."""
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(holds), [message])]):
        return tf.identity(result)


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
