"""Models that give probabilities: the softmax is taken off, or its cost is said."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_classifier import some_images, trained_model
from small_world import SHAPE

from foundation.errors import DataError
from robustness.config import BoundName, ThreatModel
from robustness.evaluation import Judge
from robustness.logits import LOGARITHM, SOFTMAX_REMOVED, as_logits


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return trained_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


def test_a_softmax_is_taken_off(model: tf_keras.Model, batch: Any) -> None:
    with_softmax = tf_keras.Sequential([model, tf_keras.layers.Softmax()])
    logits, note = as_logits(with_softmax, SHAPE, batch.x)
    assert note == SOFTMAX_REMOVED
    np.testing.assert_allclose(
        logits(tf.constant(batch.x), training=False), model(batch.x), atol=1e-5
    )
    assert as_logits(model, SHAPE, batch.x) == (model, "")
    assert Judge(logits, ThreatModel(epsilon=0.01), (BoundName.CROWN,), SHAPE).certifier is not None


def test_other_probabilities_are_used_with_a_warning(model: tf_keras.Model, batch: Any) -> None:
    def probabilities(x: tf.Tensor, training: bool) -> tf.Tensor:
        positive = tf.exp(model(x, training=training))
        return positive / tf.reduce_sum(positive, axis=1, keepdims=True)

    logits, note = as_logits(probabilities, SHAPE, batch.x)
    assert note == LOGARITHM
    np.testing.assert_allclose(
        logits(tf.constant(batch.x), training=False), tf.nn.log_softmax(model(batch.x)), atol=1e-4
    )


def test_without_images_nothing_is_told_apart(model: tf_keras.Model) -> None:
    with pytest.raises(DataError, match="without an image"):
        as_logits(model, SHAPE, np.zeros((0, *SHAPE), np.float32))
