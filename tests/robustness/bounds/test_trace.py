"""Graphs to layers: what has no bound is named, and a network is the same however it was saved."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from bounded_networks import (
    CLASSES,
    SHAPE,
    convolutions,
    dense,
    images,
    keras,
    network,
    predictions,
)

from robustness.bounds.certifier import Certifier
from robustness.bounds.trace import NoBoundError, trace
from robustness.config import BoundName


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (keras.Activation("tanh"), "Tanh"),
        (keras.Activation("sigmoid"), "Sigmoid"),
        (keras.LeakyReLU(), "LeakyRelu"),
        (keras.DepthwiseConv2D(3), "DepthwiseConv2dNative"),
        (keras.Permute((3, 1, 2)), "Transpose"),
        (keras.Lambda(lambda x: tf.reverse(x, [1])), "Reverse"),
        (keras.Lambda(lambda x: x * x), "Mul"),
        (keras.Lambda(lambda x: tf.reshape(x, [-1, 4, 8, 2])), "Reshape"),  # mixes images
        (keras.Lambda(lambda x: x - tf.reduce_mean(x, axis=0)), "Mean"),  # mixes images
        (
            keras.Lambda(lambda x: tf.nn.max_pool(x, [1, 1, 1, 2], [1, 1, 1, 2], "VALID")),
            "MaxPool",
        ),  # over channels
        (keras.Lambda(lambda x: tf.nn.bias_add(x, tf.ones(8), data_format="NCHW")), "BiasAdd"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_operation_without_a_bound_is_named(layer: keras.Layer, named: str) -> None:
    image = keras.Input(SHAPE)
    model = tf_keras.Model(image, keras.Dense(CLASSES)(keras.Flatten()(layer(image))))
    with pytest.raises(NoBoundError, match=f"no bound is known for the operation {named}"):
        trace(model, SHAPE)


def test_a_weight_that_is_computed_in_an_unknown_way_is_refused_at_once() -> None:
    model = network(dense)
    normalised = lambda x, training: model(x) * tf.reduce_sum(model.layers[-1].kernel)  # noqa: E731
    with pytest.raises(NoBoundError, match="where a weight is computed by Sum"):
        trace(normalised, SHAPE)


def test_a_model_that_ignores_the_image_is_refused() -> None:
    with pytest.raises(NoBoundError, match="does not depend on the image"):
        trace(lambda x, training: tf.ones([1, 3]), SHAPE)


def test_a_softmax_at_the_end_changes_nothing() -> None:
    model, x = network(dense), images()
    y = predictions(model, x)
    with_softmax = tf_keras.Model(model.input, keras.Softmax()(model.output))
    first, second = (
        Certifier(each, SHAPE, 0.05).tighten(BoundName.CROWN, x, y)
        for each in (model, with_softmax)
    )
    np.testing.assert_array_equal(first, second)


def test_the_same_network_however_it_was_saved(tmp_path: Path) -> None:
    """Keras 2 in memory, a SavedModel's signature (its graph calls functions), and Keras 3."""
    import keras as keras3

    model, x = network(convolutions), images()
    y = predictions(model, x)
    expected = Certifier(model, SHAPE, 0.05).tighten(BoundName.CROWN, x, y)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    signature = loaded.signatures["serving_default"]
    (argument,) = signature.structured_input_signature[1]
    (output,) = signature.structured_outputs
    served = lambda x, training: signature(**{argument: x})[output]  # noqa: E731
    twin = keras3.Sequential(
        [
            keras3.layers.Input(SHAPE),
            keras3.layers.Conv2D(3, 3, strides=2, padding="same", activation="relu"),
            keras3.layers.Conv2D(4, (2, 3), activation="relu"),
            keras3.layers.Flatten(),
            keras3.layers.Dense(CLASSES),
        ]
    )
    twin.set_weights(model.get_weights())
    for other in (served, twin):
        np.testing.assert_allclose(
            Certifier(other, SHAPE, 0.05).tighten(BoundName.CROWN, x, y), expected, atol=1e-4
        )
