"""Encoded images to pixels."""

import resource
import struct
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from png_files import SIGNATURE, bomb, chunk, head, interlaced, palette, png
from small_world import SHAPE, small_images

from trainer.preprocessing import decode_images
from trainer.resizing import resized

BLUE = (1, 2, 250)


def test_decoded_images_are_the_pixels_divided_by_255() -> None:
    images, _ = small_images(5, seed=9)
    decoded = decode_images(tf.stack([tf.io.encode_png(image) for image in images]), SHAPE)
    np.testing.assert_allclose(decoded.numpy(), images / np.float32(255), rtol=1e-6)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (
            b"no image",
            r"expected a PNG of 8 x 8 pixels \(height x width\), in grey, with 8 bits a channel, "
            "got something else",
        ),
        (
            tf.io.encode_png(np.zeros((9, 8, 1), np.uint8)).numpy(),
            "got 9 x 8",
        ),
        (b"", "got something else"),
        (tf.io.encode_jpeg(np.zeros(SHAPE, np.uint8)).numpy(), "got something else"),
        (tf.io.encode_png(np.zeros(SHAPE, np.uint16)).numpy(), "got more bits"),
        (tf.io.encode_png(np.zeros((8, 8, 4), np.uint8)).numpy(), "got transparency"),
        (png(8, 8, more=chunk(b"tRNS", b"\0\0")), "got transparency"),
        (png(8, 8, colour=3, more=palette(BLUE) + chunk(b"tRNS", b"\x07")), "got transparency"),
        (png(8, 8, bytes([9, 9, 7] * 64), colour=2), "got colours"),
        (png(8, 8, bytes([9, 9, 7, 255] * 64), colour=6), "got colours"),
        (png(8, 8, colour=3, more=palette(BLUE)), "got colours"),
        (png(8, 8, more=chunk(b"acTL", struct.pack(">II", 2, 0))), "got an animation"),
        (SIGNATURE + chunk(b"tEXt", b"a\0b") + png(8, 8)[8:], "got something else"),
        (SIGNATURE + png(8, 8)[12:], "got something else"),
        (png(8, 8)[:20], "got 0 x 8"),
        (png(8, 8, more=head(9, 9)), "(?i)invalid png"),
        (png(8, 8).replace(head(8, 8), head(8, 8)[:-1] + b"!"), "(?i)invalid png"),
        (png(8, 8)[:-30], "(?i)invalid png"),
    ],
    ids=[
        "garbage", "wrong-shape", "nothing", "jpeg", "sixteen-bits", "transparent",
        "transparent-grey", "transparent-palette", "colours", "opaque-colours", "palette",
        "animation", "text-first", "shifted", "head-alone", "two-heads", "wrong-sum", "cut-off",
    ],
)  # fmt: skip
def test_undecodable_images_fail(encoded: bytes, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode_images(tf.constant([encoded]), SHAPE)


def test_an_opaque_alpha_channel_is_left_out() -> None:
    image = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8)
    opaque = np.concatenate([image, np.full_like(image, 255)], axis=-1)
    encoded = tf.stack([tf.io.encode_png(image), tf.io.encode_png(opaque)])
    first, second = decode_images(encoded, SHAPE).numpy()
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("shape", [(8, 8, 1), (33, 57, 3)], ids=str)
def test_an_image_of_the_size_is_not_changed(shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    np.testing.assert_array_equal(resized(image, shape[:2]), image)


def test_a_smaller_image_is_the_mean_of_what_it_shows() -> None:
    """Nothing is skipped: fine stripes become grey, and light stays light."""
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::4] = 200
    small = resized(stripes, (8, 8)).numpy()
    assert np.abs(small[1:-1, 1:-1].astype(int) - 50).max() <= 2
    np.testing.assert_array_equal(resized(np.full((9, 40, 3), 77, np.uint8), (30, 7)), 77)


def test_images_of_any_size_are_resized_where_that_is_set() -> None:
    images = [np.full((side, 9, 1), side, np.uint8) for side in (3, 20)]
    encoded = tf.stack([tf.io.encode_png(image) for image in images])
    decoded = decode_images(encoded, SHAPE, resize=True).numpy()
    np.testing.assert_allclose(decoded[:, 0, 0, 0], np.float32([3, 20]) / 255)


def traced(resize: bool, shape: tuple[int, int, int] = SHAPE) -> Any:
    """The check as a graph runs it, several operations at once."""
    specification = tf.TensorSpec([None], tf.string)
    return tf.function(lambda x: decode_images(x, shape, resize), input_signature=[specification])


def peak() -> int:
    """Most memory that this process has had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize(
    ("side", "bits", "colour"), [(23_000, 1, 0), (9_000, 8, 6)], ids=["grey", "colours"]
)
def test_a_bomb_is_refused_by_its_head(resize: bool, side: int, bits: int, colour: int) -> None:
    """Decoded, one of these takes 0.3 to 0.5 GB."""
    bombs = [bomb(side, bits, colour)] * 4
    decode, good = traced(resize), tf.io.encode_png(np.zeros(SHAPE, np.uint8)).numpy()
    decode(tf.constant([good]))
    before = peak()
    message = "at most 67,108,864 pixels" if resize else "of 8 x 8 pixels"
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{message}.* {side} x {side}"):
        decode(tf.constant([good, *bombs]))
    assert peak() - before < 100


def test_a_large_image_is_resized_within_bounded_memory() -> None:
    """Several in a batch are not in memory at once."""
    decode = traced(resize=True)
    decode(tf.constant([large := bomb(side=8000)]))
    before = peak()
    decode(tf.constant([large] * 6))
    assert peak() - before < 400


@pytest.mark.parametrize("traced_graph", [False, True])
def test_what_loses_nothing_is_taken(traced_graph: bool) -> None:
    """Grey in whatever form, also with a gamma, which is not applied."""
    values = bytes(range(0, 256, 4))
    gamma = chunk(b"gAMA", struct.pack(">I", 45455))
    table = palette(*[(value, value, value) for value in values])
    forms = [
        interlaced(8, 8, values),
        png(8, 8, bytes(v for value in values for v in [value] * 3), colour=2, more=gamma),
        png(8, 8, bytes(v for value in values for v in (value, 255)), colour=4, more=gamma),
        png(8, 8, bytes(v for value in values for v in [value] * 3 + [255]), colour=6),
        png(8, 8, bytes(range(64)), colour=3, more=gamma + table),
        png(8, 8, values, more=chunk(b"acTX", b"acTL") + chunk(b"tEXt", b"a\0tRNS")),
    ]
    decode = traced(False) if traced_graph else lambda x: decode_images(x, SHAPE)
    expected = np.frombuffer(values, np.uint8).reshape(SHAPE) / np.float32(255)
    for decoded in decode(tf.constant(forms)).numpy():
        np.testing.assert_allclose(decoded, expected, rtol=1e-6)


def test_grey_and_palettes_are_colours_to_a_model_of_colours() -> None:
    table = palette((1, 2, 3), (250, 0, 9))
    decoded = decode_images(
        tf.constant([png(1, 2, b"\1\0", colour=3, more=table), png(1, 2, b"\7\x08")]), (1, 2, 3)
    )
    expected = [[[[250, 0, 9], [1, 2, 3]]], [[[7, 7, 7], [8, 8, 8]]]]
    np.testing.assert_array_equal(decoded, np.array(expected, np.float32) / 255)
