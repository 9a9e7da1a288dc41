"""Networks from model artifacts, whoever exported them."""

import logging
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_exports import linear_model, signature_model

from components.adversarial_example_gen.networks import load_network, load_networks
from foundation.errors import DataError


@pytest.fixture
def images() -> tf.Tensor:
    return tf.constant(np.random.default_rng(3).uniform(size=(5, 8, 8, 1)), tf.float32)


def test_a_keras_model(tmp_path: Path, images: tf.Tensor) -> None:
    path = f"{linear_model(tmp_path)}/Format-Serving"
    network = load_network(path)
    assert (network.image_shape, network.classes) == ((8, 8, 1), 3)
    expected = tf_keras.models.load_model(path, compile=False)(images)
    np.testing.assert_array_equal(network(images, training=False), expected)


def test_a_model_without_keras(tmp_path: Path, images: tf.Tensor) -> None:
    path = f"{linear_model(tmp_path / 'keras')}/Format-Serving"
    keras = tf_keras.models.load_model(path, compile=False)
    network = load_network(f"{signature_model(tmp_path / 'other', keras)}/Format-Serving")
    assert (network.image_shape, network.classes) == ((8, 8, 1), 3)
    np.testing.assert_allclose(network(images, training=False), keras(images), atol=1e-6)


def test_a_model_that_gives_probabilities_is_attacked_on_its_logits(
    tmp_path: Path, images: tf.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        path = f"{linear_model(tmp_path, softmax=True)}/Format-Serving"
        network = load_network(path)
    assert "The softmax at its end was taken off" in caplog.text
    probabilities = tf_keras.models.load_model(path, compile=False)(images)
    logits = network(images, training=False)
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, atol=1e-6)
    assert np.any(np.asarray(logits) < 0)


def test_a_model_without_a_shape(tmp_path: Path) -> None:
    path = f"{linear_model(tmp_path, shape=(64,))}/Format-Serving"
    with pytest.raises(DataError, match=r"images of a fixed shape \[n, h, w, c\], got \(None, 64"):
        load_network(path)


@pytest.mark.parametrize(
    "other", [{"shape": (9, 8, 1)}, {"classes": 4}], ids=["another shape", "more classes"]
)
def test_models_that_do_not_go_together(tmp_path: Path, other: dict) -> None:
    paths = {
        "robust": f"{linear_model(tmp_path / 'one')}/Format-Serving",
        "plain": f"{linear_model(tmp_path / 'two', **other)}/Format-Serving",
    }
    with pytest.raises(DataError, match=r"one shape and give as many classes, got .*plain"):
        load_networks(paths)
