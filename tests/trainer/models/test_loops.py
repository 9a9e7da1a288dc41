"""Signatures that hold loops and branches: the same logits, and gradients that reach the image."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_classifier import EPSILON, STAGES, some_images
from small_world import CLASSES, SHAPE

from foundation.errors import DataError
from robustness.config import ThreatModel
from robustness.evaluation import Judge
from trainer.models.choice import Wanted
from trainer.models.load import ImageModel, load_model

WEIGHTS = np.random.default_rng(0).normal(size=(np.prod(SHAPE), CLASSES)).astype(np.float32)

outer = tf.function(lambda x: inner(x) + 0.5 * x)
inner = tf.function(lambda x: x * x + tf.sin(x))


def mapped(x: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(lambda image: 2.0 * outer(image), x)


def nested(x: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(lambda image: tf.map_fn(outer, image), x)


def branch_in_loop(x: tf.Tensor) -> tf.Tensor:
    def of_one(image: tf.Tensor) -> tf.Tensor:
        bright = tf.reduce_mean(image) > 0.5
        return tf.cond(bright, lambda: outer(image), lambda: inner(image))

    return tf.map_fn(of_one, x)


def loop_in_branch(x: tf.Tensor) -> tf.Tensor:
    return tf.cond(tf.reduce_max(x) > 0.5, lambda: mapped(x), lambda: inner(x))


def unknown_trips(x: tf.Tensor) -> tf.Tensor:
    """How often it turns depends on the images' number, which all of them share."""
    turns = tf.constant(2) + 0 * tf.shape(x)[0]
    _, x = tf.while_loop(lambda i, _: i < turns, lambda i, x: (i + 1, outer(x)), [0, x])
    return x


BODIES: list[Callable[[tf.Tensor], tf.Tensor]] = [
    mapped, nested, branch_in_loop, loop_in_branch, unknown_trips
]  # fmt: skip


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


def loaded(path: Path, batch: Any) -> ImageModel:
    asked = Wanted(image_shape=SHAPE, sample=batch.x, classes=CLASSES)
    return load_model(path, asked).model


def slope(model: Callable[[tf.Tensor], tf.Tensor], x: np.ndarray) -> np.ndarray:
    """Gradient of the first logit, as attacks compute it: inside of a graph."""

    @tf.function(autograph=False)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            first = model(x)[:, 0]
        return tape.gradient(first, x)

    return np.asarray(gradient(tf.constant(x)))


def differences(model: Any, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Slope of the first logit in a direction, an image each, by finite differences."""
    step = 1e-2
    up, down = (model(tf.constant(x + sign * step * direction))[:, 0] for sign in (1.0, -1.0))
    return np.asarray(up - down) / (2 * step)


@pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body.__name__))
@pytest.mark.parametrize("last", [tf.identity, tf.nn.softmax])
def test_loops_and_branches(batch: Any, tmp_path: Path, body: Any, last: Any) -> None:
    module = tf.Module()
    module.weights = tf.Variable(WEIGHTS)

    def logits(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(body(x), [-1, WEIGHTS.shape[0]]) @ module.weights

    spec = tf.TensorSpec([None, *SHAPE], tf.float32)
    serve = tf.function(lambda x: {"y": last(logits(x))}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path), {"serving_default": serve})
    model = loaded(tmp_path, batch)
    taken_off = ("softmax",) if last is tf.nn.softmax else ()
    assert (model.judged.output.taken_off, model.judged.doubts) == (taken_off, ())
    np.testing.assert_allclose(model(tf.constant(batch.x)), logits(batch.x), atol=1e-5)
    direction = np.random.default_rng(1).normal(size=batch.x.shape).astype(np.float32)
    expected = differences(logits, batch.x, direction)
    along = np.sum(slope(model, batch.x) * direction, axis=(1, 2, 3))
    np.testing.assert_allclose(along, expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("last", [None, "softmax"])
def test_a_recurrent_network_that_was_exported(batch: Any, tmp_path: Path, last: Any) -> None:
    """The same verdicts as those of the network in Keras; attacks move."""
    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    image = tf_keras.Input(SHAPE)
    logits = layers.Dense(CLASSES)(layers.LSTM(4)(layers.Reshape(SHAPE[:2])(image)))
    keras = tf_keras.Model(image, logits)
    keras.set_weights([4.0 * weight for weight in keras.get_weights()])
    ended = tf_keras.Model(image, layers.Activation(last)(logits)) if last else keras
    ended.export(str(tmp_path / "model"))
    model = loaded(tmp_path / "model", batch)
    assert model.judged.signature == "serving_default"
    assert model.judged.output.taken_off == ((last,) if last else ())
    np.testing.assert_allclose(model(tf.constant(batch.x)), keras(batch.x), atol=1e-5)
    np.testing.assert_allclose(slope(model, batch.x), slope(keras, batch.x), atol=1e-5)
    own = np.argmax(keras(batch.x), axis=1).astype(np.int64)
    judged, expected = (
        Judge(of, ThreatModel(epsilon=EPSILON), STAGES, SHAPE).judge(batch.x, own, batch.ids, 0)
        for of in (model, keras)
    )
    assert judged.broken_by.tolist() == expected.broken_by.tolist()
    assert len(set(judged.broken_by.tolist())) > 1


def test_a_loop_of_tensorflow_1_is_refused_in_words(batch: Any, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    two = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        with tf.Graph().as_default(), v1.Session() as session:
            image = v1.placeholder(tf.float32, [None, *SHAPE])
            rows = tf.reshape(tf.map_fn(tf.sin, image), [-1, WEIGHTS.shape[0]])
            ends = {"x": image}, {"y": rows @ tf.constant(WEIGHTS)}
            v1.saved_model.simple_save(session, str(tmp_path / "model"), *ends)
    finally:
        if two:
            v1.enable_control_flow_v2()
    with pytest.raises(DataError, match="images: it holds a loop of TensorFlow 1, through which"):
        loaded(tmp_path / "model", batch)
