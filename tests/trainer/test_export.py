"""The exported model: what it answers, and what lies beside it."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from small_world import NAMES, small_images

from trainer.classes import class_names_of
from trainer.export import export_model, read_history


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
    assert (served["class"].dtype, served["probabilities"].dtype) == (tf.int64, tf.float32)
    named = [NAMES[label].encode() for label in logits.argmax(axis=1)]
    assert served["label"].numpy().tolist() == named
    np.testing.assert_allclose(served["probabilities"], tf.nn.softmax(logits), atol=1e-5)
    from_raw = signatures["serialized_examples"](examples=tf.constant(raw))
    np.testing.assert_allclose(from_raw["probabilities"], served["probabilities"], atol=1e-6)
    assert from_raw["label"].numpy().tolist() == named
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
    assert settings["class_names"] == list(NAMES)


def test_export_keeps_the_metrics_of_every_epoch(small_models: dict[str, str]) -> None:
    history = read_history(f"{small_models['robust']}/Format-Serving")
    assert history.best_epoch == len(history.epochs) == 6
    names = {"loss", "val_clean", "val_adversarial", "val_certified"}
    assert all(names <= set(metrics) for metrics in history.epochs)


def test_the_names_are_an_asset_that_moves_with_the_model(
    small_models: dict[str, str], tmp_path: Path
) -> None:
    export = shutil.copytree(f"{small_models['robust']}/Format-Serving", tmp_path / "elsewhere")
    assert class_names_of(str(export)) == NAMES
    loaded = tf.saved_model.load(str(export))
    assert Path(loaded.class_names.asset_path.numpy().decode()).parent == export / "assets"


def test_without_names_there_is_neither_an_asset_nor_an_output(
    small_world: SimpleNamespace, small_models: dict[str, str], tmp_path: Path
) -> None:
    robust = f"{small_models['robust']}/Format-Serving"
    network = tf_keras.models.load_model(robust, compile=False)
    transform = tft.TFTransformOutput(small_world.transform)
    layers = tf_keras.layers
    plain = tf_keras.Sequential(
        [layers.Input(network.input_shape[1:]), layers.Flatten(), layers.Dense(3)]
    )
    export_model(plain, transform, str(tmp_path / "model"), {}, {})
    signatures = tf.saved_model.load(str(tmp_path / "model")).signatures
    assert set(signatures["serving_default"].structured_outputs) == {"class", "probabilities"}
    assert class_names_of(str(tmp_path / "model")) == ()
