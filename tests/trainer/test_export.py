"""The exported model: what it answers, and what lies beside it."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import small_images

from trainer.export import read_history


@pytest.mark.parametrize("name", ["undefended", "robust"])
def test_exported_model_answers_on_every_signature(small_models: dict[str, str], name: str) -> None:
    """PNG bytes, raw examples and transformed examples of the same image give the same answer."""
    directory = f"{small_models[name]}/Format-Serving"
    images, labels = small_images(32, seed=5)
    png = [tf.io.encode_png(image).numpy() for image in images]
    pixels = images / np.float32(255)

    def example(**features: tf.train.Feature) -> bytes:
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    raw = [example(image=tf.train.Feature(bytes_list=tf.train.BytesList(value=[p]))) for p in png]
    transformed = [
        example(image=tf.train.Feature(float_list=tf.train.FloatList(value=x.ravel())))
        for x in pixels
    ]
    signatures = tf.saved_model.load(directory).signatures
    served = signatures["serving_default"](image=tf.constant(png))
    network = tf_keras.models.load_model(directory, compile=False)
    logits = network(pixels, training=False).numpy()
    np.testing.assert_array_equal(served["class"], logits.argmax(axis=1))
    np.testing.assert_allclose(served["probabilities"], tf.nn.softmax(logits), atol=1e-5)
    from_raw = signatures["serialized_examples"](examples=tf.constant(raw))
    np.testing.assert_allclose(from_raw["probabilities"], served["probabilities"], atol=1e-6)
    evaluated = signatures["transformed_examples"](examples=tf.constant(transformed))
    np.testing.assert_allclose(evaluated["logits"], logits, atol=1e-5)
    assert np.mean(logits.argmax(axis=1) == labels) > 0.9
    assert np.any(logits < 0), "logits, not probabilities"


def test_export_keeps_configuration_and_seed(small_models: dict[str, str]) -> None:
    settings = json.loads(
        Path(small_models["robust"], "Format-Serving/assets.extra/settings.json").read_text()
    )
    assert settings["seed"] == 0
    assert settings["recipe"]["name"] == "tutorial"
    assert settings["config"]["batch_size"] == 16


def test_export_keeps_the_metrics_of_every_epoch(small_models: dict[str, str]) -> None:
    history = read_history(f"{small_models['robust']}/Format-Serving")
    assert history.best_epoch == len(history.epochs) == 6
    names = {"loss", "val_clean", "val_adversarial", "val_certified"}
    assert all(names <= set(metrics) for metrics in history.epochs)
