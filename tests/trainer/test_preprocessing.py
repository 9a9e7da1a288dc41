"""Encoded images to pixels."""

import numpy as np
import pytest
import tensorflow as tf
from small_world import SHAPE, small_images

from trainer.preprocessing import decode_images
from trainer.resizing import resized


def test_decoded_images_are_the_pixels_divided_by_255() -> None:
    images, _ = small_images(5, seed=9)
    decoded = decode_images(tf.stack([tf.io.encode_png(image) for image in images]), SHAPE)
    np.testing.assert_allclose(decoded.numpy(), images / np.float32(255), rtol=1e-6)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"no image", "(?i)png|image"),
        (tf.io.encode_png(np.zeros((9, 8, 1), np.uint8)).numpy(), "(?i)shape"),
        (b"", "encoded as PNG"),
        (tf.io.encode_jpeg(np.zeros(SHAPE, np.uint8)).numpy(), "encoded as PNG"),
        (tf.io.encode_png(np.zeros(SHAPE, np.uint16)).numpy(), "8 bits a channel"),
        (tf.io.encode_png(np.zeros((8, 8, 4), np.uint8)).numpy(), "no transparency"),
    ],
    ids=["garbage", "wrong-shape", "nothing", "jpeg", "sixteen-bits", "transparent"],
)
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
