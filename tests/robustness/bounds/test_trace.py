"""Graphs to layers: what has no bound is named, and a network is the same however it was saved."""

from collections.abc import Callable
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

from robustness.bounds import curves
from robustness.bounds.activations import Smooth
from robustness.bounds.certifier import Certifier
from robustness.bounds.curves import Curve
from robustness.bounds.layers import Input
from robustness.bounds.linear import Scale, Shift
from robustness.bounds.moves import Reshape
from robustness.bounds.propagation import Propagation
from robustness.bounds.trace import NoBoundError, trace
from robustness.config import BoundName


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (keras.Activation("softmax"), "Softmax"),
        (keras.Lambda(tf.sin), "Sin"),
        (keras.Lambda(lambda x: tf.nn.leaky_relu(x, 1.5)), "LeakyRelu"),  # bends the other way
        (keras.Lambda(lambda x: tf.maximum(x, -x)), "Maximum"),  # of two that depend on the image
        (keras.Lambda(lambda x: tf.minimum(x, float("inf"))), "Minimum"),
        (keras.Lambda(lambda x: x * tf.nn.relu6(x + 3.0) / 6.0), "Mul"),  # hard swish
        (keras.Lambda(lambda x: x * tf.sigmoid(x + 1.0)), "Mul"),  # no swish
        (
            keras.Lambda(lambda x: tf.transpose(tf.transpose(x, [1, 0, 2, 3]), [1, 0, 2, 3])),
            "Transpose",
        ),  # mixes images
        (keras.Lambda(lambda x: tf.concat([x, x], axis=0)), "ConcatV2"),  # mixes images
        (keras.Lambda(lambda x: x[:1]), "StridedSlice"),  # mixes images
        (keras.Lambda(lambda x: tf.tile(x, [2, 1, 1, 1])), "Tile"),  # mixes images
        (keras.Lambda(lambda x: tf.split(x, 2, axis=0)[0]), "Split"),  # mixes images
        (keras.Lambda(lambda x: x[:, ::-1]), "StridedSlice"),  # backwards
        (keras.Lambda(lambda x: tf.reduce_max(x, axis=3)), "Max"),  # over channels
        (keras.Resizing(4, 4, interpolation="bicubic"), "ResizeBicubic"),
        (keras.LayerNormalization(), "Reshape"),  # through the statistics of a normalisation
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


SQRT2 = np.float32(np.sqrt(2))
SWISH, GELU, GELU_TANH, MISH = (curves.SWISH, curves.GELU, curves.GELU_TANH, curves.MISH)


@pytest.mark.parametrize(
    ("function", "curve"),
    [
        (tf.nn.silu, SWISH),
        (lambda x: tf.nn.silu(x, beta=-0.5), SWISH),
        (lambda x: tf.sigmoid(1.702 * x) * (2.0 * x), SWISH),
        (lambda x: 0.5 * x * (1.0 + tf.tanh(x / 2.0)), SWISH),
        (tf.nn.gelu, GELU),
        (lambda x: 0.5 * x * (1.0 + tf.math.erf(x / SQRT2)), GELU),
        (lambda x: x * (0.5 * (tf.math.erf(x * 0.4) + 1.0)), GELU),
        (lambda x: tf.math.erfc(-x / SQRT2) * x, GELU),
        (lambda x: tf.nn.gelu(x, approximate=True), GELU_TANH),
        (lambda x: x * (1.0 + tf.tanh(0.7978845608 * (x + 0.044715 * x * x * x))), GELU_TANH),
        (lambda x: x * tf.tanh(tf.nn.softplus(x)), MISH),
    ],
    ids=[
        "silu", "beta", "a factor", "by tanh", "gelu", "by erf", "another rate", "by erfc",
        "approximate", "in products", "mish",
    ],
)  # fmt: skip
def test_what_several_operations_are_together_is_bounded_as_one(
    function: Callable[[tf.Tensor], tf.Tensor], curve: Curve
) -> None:
    model = lambda x, training: tf.reshape(function(6.0 * x - 3.0), [-1, 128])  # noqa: E731
    layers = trace(model, SHAPE)
    (smooth,) = [layer for layer in layers if isinstance(layer, Smooth)]
    assert smooth.curve is curve
    assert {type(layer) for layer in layers} <= {Input, Scale, Shift, Smooth, Reshape}
    x = images()
    exact = model(tf.constant(x), False).numpy()
    low, high = Propagation(layers, 0.0).boxes(tf.constant(x))[-1]
    assert np.all(low <= exact)
    assert np.all(exact <= high)
    np.testing.assert_allclose(high, low, atol=2e-4)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 0.5 * x * (1.0 + tf.tanh(0.8 * (x + 0.05 * x**3))),
        lambda x: x * (2.0 + tf.math.erf(x)),
        lambda x: x * tf.sigmoid(x) * tf.sigmoid(x),
        lambda x: x * x * tf.sigmoid(x),
        lambda x: x * tf.sigmoid(x**2),
        lambda x: tf.sigmoid(x) * tf.tanh(x),
        lambda x: x * tf.sigmoid(tf.reverse(x, [1])),
        lambda x: x * tf.sigmoid(x * tf.constant([1.0, 2.0])),
        lambda x: x * tf.tanh(tf.nn.softplus(x) + 1.0),
        lambda x: x * tf.sigmoid(tf.tanh(x)),
    ],
    ids=[
        "other factors", "other sum", "twice", "square", "of a square", "two gates",
        "of something else", "a rate for each channel", "shifted", "nested",
    ],
)  # fmt: skip
def test_what_only_resembles_it_is_refused(function: Callable[[tf.Tensor], tf.Tensor]) -> None:
    with pytest.raises(NoBoundError, match="no bound is known for the operation"):
        trace(lambda x, training: tf.reshape(function(x), [-1, 128]), SHAPE)


def test_bounds_follow_the_variables_of_a_function_that_the_model_calls() -> None:
    """A convolution in groups, which Keras has compiled whole, and a function of the user's."""
    image = keras.Input(SHAPE)
    body = tf_keras.Model(image, keras.Flatten()(keras.Conv2D(4, 3, groups=2)(image)))
    kernel = tf.Variable(np.random.default_rng(0).normal(size=(144, 3)), dtype=tf.float32)
    called = tf.function(lambda x: body(x) @ kernel)
    model, x = (lambda x, training=False: called(x)), tf.constant(images())
    network = Propagation(trace(model, SHAPE), 0.0)
    for factor in (1.0, 3.0):
        kernel.assign(factor * kernel)
        body.layers[1].kernel.assign(factor * body.layers[1].kernel)
        low, high = network.boxes(x)[-1]
        np.testing.assert_allclose((low + high) / 2, model(x), rtol=1e-3, atol=1e-3)


def test_a_threshold_that_is_learned_is_followed_from_0() -> None:
    threshold, x = tf.Variable(0.0), tf.constant(images())
    model = lambda x, training=False: tf.reshape(tf.maximum(x, threshold), [-1, 128])  # noqa: E731
    network = Propagation(trace(model, SHAPE), 0.0)
    threshold.assign(0.7)
    low, high = network.boxes(x)[-1]
    np.testing.assert_allclose((low + high) / 2, model(x), atol=1e-4)


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
