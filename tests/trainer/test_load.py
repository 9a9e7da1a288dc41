"""Models from disk, whoever wrote them, and what is none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_classifier import some_images, trained_model
from small_world import CLASSES, SHAPE

from foundation.errors import DataError
from robustness.config import BoundName, ThreatModel
from robustness.evaluation import Judge
from trainer.load import load_model


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return trained_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


@pytest.mark.parametrize("kind", ["keras2", "h5", "saved_model", "keras3", "versions"])
def test_models_however_they_were_saved(
    model: tf_keras.Model, batch: Any, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / {"keras2": "m.keras", "h5": "m.h5", "keras3": "m3.keras"}.get(kind, "folder")
    match kind:
        case "keras2" | "h5":
            model.save(path)
        case "saved_model":
            tf.saved_model.save(model, str(path))
        case "versions":
            for version in ("9", "10"):
                model.save(path / version, save_format="tf")
        case "keras3":
            import keras

            twin = keras.Sequential(
                [
                    keras.layers.Input(SHAPE),
                    keras.layers.Flatten(),
                    keras.layers.Dense(8, activation="relu"),
                    keras.layers.Dense(CLASSES),
                ]
            )
            twin.set_weights(model.get_weights())
            twin.save(path)
    loaded = load_model(path)
    assert loaded.image_shape == SHAPE
    assert loaded.path.name == ("10" if kind == "versions" else path.name)
    np.testing.assert_allclose(
        loaded.model(tf.constant(batch.x), training=False), model(batch.x), atol=1e-5
    )
    judge = Judge(loaded.model, ThreatModel(epsilon=0.01), (BoundName.CROWN,), SHAPE)
    assert judge.certifier is not None, judge.not_certified


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_text("no model"), "loading it failed"),
        (lambda path: path.mkdir(), "expected a SavedModel folder"),
        (lambda path: tf.saved_model.save(tf.Module(), str(path)), "its signatures are none"),
        (lambda path: two_inputs().save(path, save_format="tf"), "expected one input of images"),
    ],
    ids=["text", "empty", "no signature", "two inputs"],
)
def test_what_is_no_model_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    make(tmp_path / "model")
    with pytest.raises(DataError, match=message):
        load_model(tmp_path / "model")


def two_inputs() -> tf_keras.Model:
    inputs = [tf_keras.Input(SHAPE), tf_keras.Input(SHAPE)]
    return tf_keras.Model(
        inputs, tf_keras.layers.Dense(3)(tf_keras.layers.Flatten()(inputs[0] + inputs[1]))
    )
