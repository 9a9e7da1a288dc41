"""Encoded images to pixels."""

import numpy as np
import pytest
import tensorflow as tf
from small_world import SHAPE, small_images

from trainer.preprocessing import decode_images


def test_decoded_images_are_the_pixels_divided_by_255() -> None:
    images, _ = small_images(5, seed=9)
    decoded = decode_images(tf.stack([tf.io.encode_png(image) for image in images]), SHAPE)
    np.testing.assert_allclose(decoded.numpy(), images / np.float32(255), rtol=1e-6)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (b"no image", "(?i)png|image"),
        (tf.io.encode_png(np.zeros((9, 8, 1), np.uint8)).numpy(), "(?i)shape"),
    ],
    ids=["garbage", "wrong-shape"],
)
def test_undecodable_images_fail(encoded: bytes, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        decode_images(tf.constant([encoded]), SHAPE)
