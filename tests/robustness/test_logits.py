"""What squashes a model's logits is taken off, or its cost is said."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_classifier import some_images, trained_model
from small_world import SHAPE

from foundation.errors import DataError
from robustness.ascent import slope
from robustness.config import BoundName, ThreatModel
from robustness.evaluation import Judge
from robustness.logits import LOGARITHM, SQUASHED, UNREACHED, as_logits, first_line


@pytest.fixture(scope="module")
def model() -> tf_keras.Model:
    return trained_model()


@pytest.fixture(scope="module")
def batch() -> SimpleNamespace:
    return some_images()


def read(model: Any, x: np.ndarray, shape: tuple[int, int, int] = SHAPE) -> Any:
    return as_logits(model, shape, x)


def test_a_model_of_logits_is_left_as_it_is(model: tf_keras.Model, batch: Any) -> None:
    logits = read(model, batch.x)
    assert logits.model is model
    assert (logits.classes, logits.taken_off, logits.notes) == (3, (), ())


INCREASING: dict[str, Any] = {
    "softmax": tf.nn.softmax,
    "log-softmax": tf.nn.log_softmax,
    "sigmoid": tf.math.sigmoid,
    "tanh": tf.math.tanh,
    "softsign": tf.nn.softsign,
    "softplus": tf.nn.softplus,
    "exponential": tf.math.exp,
    "erf": tf.math.erf,
    "arc tangent": tf.math.atan,
    "ELU": tf.nn.elu,
    "SELU": tf.nn.selu,
}


@pytest.mark.parametrize("name", INCREASING)
def test_what_squashes_the_logits_is_taken_off(
    model: tf_keras.Model, batch: Any, name: str
) -> None:
    """The same logits, bit for bit, and bounds go through."""
    squashed = tf_keras.Sequential([model, tf_keras.layers.Activation(INCREASING[name])])
    logits = read(squashed, batch.x)
    assert logits.taken_off == (name,)
    assert not logits.notes
    x = tf.constant(batch.x)
    np.testing.assert_array_equal(logits.model(x, training=False), model(x))
    assert certifier(logits.model) is not None


def certifier(model: Any) -> Any:
    return Judge(model, ThreatModel(epsilon=0.01), (BoundName.CROWN,), SHAPE).certifier


@pytest.mark.parametrize(
    ("end", "taken_off"),
    [
        (lambda z: tf.math.log(tf.nn.softmax(z)), ("softmax",)),
        (lambda z: tf.nn.softmax(10.0 * tf.math.tanh(z)), ("softmax", "tanh")),
        (lambda z: 0.5 * (1.0 + tf.math.tanh(z / 2.0)), ("tanh",)),
        (lambda z: tf.cast(tf.nn.softmax(tf.cast(z, tf.float64)), tf.float32), ("softmax",)),
        (lambda z: tf.reshape(tf.math.sigmoid(z[:, :, None, None]), [-1, 3]), ("sigmoid",)),
        (lambda z: tf.stop_gradient(tf.nn.softmax(z)), ("softmax",)),
        (tf.function(lambda z: tf.nn.softmax(z)), ("softmax",)),
        (lambda z: tf.function(tf.nn.softmax)(z) * 100.0, ("softmax",)),
        (lambda z: tf.nn.softmax(z) * tf.constant([100.0, 100.0, 100.0]), ("softmax",)),
        (lambda z: -tf.math.sigmoid(-z), ("sigmoid",)),
        (lambda z: 1.0 - tf.math.sigmoid(-z), ("sigmoid",)),
    ],
    ids=[
        "log",
        "two of them",
        "scaled",
        "cast",
        "reshaped",
        "stopped",
        "in a function",
        "behind a function",
        "equal factors",
        "negated",
        "turned",
    ],
)
def test_wherever_it_stands(
    model: tf_keras.Model, batch: Any, end: Any, taken_off: tuple[str, ...]
) -> None:
    logits = read(lambda x, training: end(model(x, training=training)), batch.x)
    assert logits.taken_off == taken_off
    x = tf.constant(batch.x)
    scale = 0.5 if taken_off == ("tanh",) else 1.0  # an increasing function of the logits
    np.testing.assert_allclose(logits.model(x, training=False), scale * model(x), atol=1e-6)


@pytest.mark.parametrize(
    "end",
    [
        lambda z: -tf.nn.softmax(z),
        lambda z: 1.0 - tf.math.sigmoid(z),
        lambda z: 1.0 / tf.math.exp(z),
        lambda z: tf.nn.softmax(z)[:, ::-1],
        lambda z: tf.nn.softmax(z) * tf.constant([1.0, 2.0, 3.0]),
        lambda z: tf.nn.relu(z),
        lambda z: tf.nn.softmax(tf.reshape(z, [-1, 3, 1]), axis=-1)[..., 0] + z,
    ],
    ids=["negated", "turned", "reciprocal", "reversed", "weighted", "relu", "of other axes"],
)
def test_what_changes_the_order_stays(model: tf_keras.Model, batch: Any, end: Any) -> None:
    def turned(x: tf.Tensor, training: bool) -> tf.Tensor:
        return end(model(x, training=training))

    logits = read(turned, batch.x)
    x = tf.constant(batch.x)
    predicted = np.argmax(logits.model(x, training=False), axis=1)
    np.testing.assert_array_equal(predicted, np.argmax(turned(x, training=False), axis=1))


@pytest.mark.parametrize(
    ("end", "name"),
    [
        (lambda z: tf.nn.relu(z), "Relu"),
        (lambda z: tf.clip_by_value(z, -1.0, 1.0), "Minimum|Maximum"),
        (lambda z: tf.math.sigmoid(z) * tf.constant([1.0, 2.0, 3.0]), "sigmoid"),
        (lambda z: tf.gather(tf.math.tanh(z), [2, 1, 0], axis=1), "tanh"),
        (lambda z: tf.nn.softmax(z) + tf.nn.softmax(2.0 * z), "softmax"),
        (lambda z: tf.math.log(tf.clip_by_value(tf.nn.softmax(z), 1e-7, 1.0)), "Minimum|Maximum"),
    ],
    ids=["relu", "clipped", "weighted", "in another order", "an ensemble", "clipped and logged"],
)
def test_what_is_flat_and_stays_is_said(
    model: tf_keras.Model, batch: Any, end: Any, name: str
) -> None:
    logits = read(lambda x, training: end(model(x, training=training)), batch.x)
    assert logits.taken_off == ()
    assert re.search(f"go through ({name}) at the end", logits.notes[0])


def test_gradients_of_its_own_survive(model: tf_keras.Model, batch: Any) -> None:
    """A swish has one, which reaches into the graph where it was traced; this one doubles."""

    @tf.custom_gradient
    def doubled(z: tf.Tensor) -> Any:
        return z, lambda upstream: 2.0 * upstream + 0.0 * z

    def soft(x: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.nn.softmax(doubled(model(x, training=training)))

    logits = read(soft, batch.x).model
    x = tf.constant(batch.x)

    @tf.function
    def gradients(x: tf.Tensor) -> Any:
        return [slope(m, x, lambda z: z[:, 0]).gradient for m in (logits, model)]

    own, plain = gradients(x)
    np.testing.assert_allclose(own, 2 * plain, atol=1e-6)


def test_one_output_is_two_classes(batch: Any) -> None:
    keras = tf_keras.layers
    z = tf_keras.Sequential([keras.Input(SHAPE), keras.Flatten(), keras.Dense(1)])
    for end, note in (("sigmoid", ""), (None, "one output without a sigmoid")):
        logits = read(tf_keras.Sequential([z, keras.Activation(end)]), batch.x)
        assert (logits.classes, logits.single) == (2, True)
        assert any(note in each for each in (*logits.notes, ""))
        answer = np.asarray(logits.model(tf.constant(batch.x), training=False))
        np.testing.assert_array_equal(answer[:, 0], 0.0)
        np.testing.assert_allclose(answer[:, 1:], z(batch.x), atol=1e-6)
        assert certifier(logits.model) is not None
    with pytest.raises(DataError, match="softmax over one output, which always gives the same"):
        read(tf_keras.Sequential([z, keras.Softmax()]), batch.x)


def test_other_probabilities_are_used_with_a_warning(model: tf_keras.Model, batch: Any) -> None:
    def probabilities(x: tf.Tensor, training: bool) -> tf.Tensor:
        positive = tf.exp(model(x, training=training))
        return positive / tf.reduce_sum(positive, axis=1, keepdims=True)

    logits = read(probabilities, batch.x)
    assert logits.notes == (LOGARITHM,)
    np.testing.assert_allclose(
        logits.model(tf.constant(batch.x), training=False),
        tf.nn.log_softmax(model(batch.x)),
        atol=1e-4,
    )


def test_outputs_between_0_and_1_are_doubted(model: tf_keras.Model, batch: Any) -> None:
    def clipped(x: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.clip_by_value(0.2 * model(x, training=training) + 0.5, 0.0, 1.0)

    assert read(clipped, batch.x).notes[-1] == SQUASHED


def test_a_model_without_gradients_says_so(model: tf_keras.Model, batch: Any) -> None:
    def stepped(x: tf.Tensor, training: bool) -> tf.Tensor:
        return model(tf.cast(tf.cast(x * 255.0, tf.uint8), tf.float32), training=training)

    assert read(stepped, batch.x).notes == (UNREACHED,)

    @tf.custom_gradient
    def broken(z: tf.Tensor) -> Any:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            raise LookupError("No gradient defined for operation")

        return z, gradient

    def refused(x: tf.Tensor, training: bool) -> tf.Tensor:
        return broken(model(x, training=training))

    with pytest.raises(DataError, match="the model has no gradient, without which"):
        read(refused, batch.x)


def test_without_images_nothing_is_told_apart(model: tf_keras.Model) -> None:
    with pytest.raises(DataError, match="without an image"):
        read(model, np.zeros((0, *SHAPE), np.float32))


CALL = 'in user code:\n\n    File "m.py", line 1, in f  *\n        f(x)\n\n    ValueError: '

CAUSES = {
    "x of b": f"{CALL}x of b",
    "Cannot reshape": (
        f"{CALL}Exception encountered when calling Late.call().\n    \n    \x1b[1mCannot reshape"
        "\x1b[0m\n    \n    Arguments received by Late.call():\n      • x=3\n"
    ),
    "8 values": "{{function_node __inference_f_1}} 8 values\n\t [[{{node Reshape}}]] [Op:__f_1]",
    "too large": (
        "Graph execution error:\n\nDetected at node m/d defined at (most recent call last):\n"
        "<stack traces unavailable>\ntoo large\n\t [[{{node m/d}}]] [Op:__inference_f_1]"
    ),
    "Layer 'd' expected 2": (
        "A total of 1 objects could not be loaded. Example error message for object <d>:\n\n"
        "Layer 'd' expected 2\n\nList of objects that could not be loaded:\n[<d>]"
    ),
    "RuntimeError": "",
}
"""What an error says, by its cause."""


@pytest.mark.parametrize("cause", CAUSES)
def test_the_line_of_an_error_that_names_its_cause(cause: str) -> None:
    assert first_line(RuntimeError(CAUSES[cause])) == cause


def test_an_error_without_words_is_that_which_it_hides() -> None:
    error = RuntimeError()
    error.__cause__ = ValueError("no room")
    assert first_line(error) == "no room"


def test_what_a_hidden_layer_does_is_none_of_the_end(batch: Any) -> None:
    """A gradient of its own, indices and shapes lead to a hidden layer whose values do not reach
    the end as they are."""
    weights = tf.constant(np.random.default_rng(0).normal(size=(64, 3)), tf.float32)

    @tf.custom_gradient
    def whole_numbers(hidden: tf.Tensor) -> Any:
        answer = tf.round(hidden) @ weights
        return answer, lambda upstream: upstream @ tf.transpose(weights)

    def quantized(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        return whole_numbers(tf.nn.relu(tf.reshape(x, [-1, 64]) - 0.3) * 8.0)

    def gathered(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        hidden = tf.nn.relu(tf.reshape(x, [-1, 64]) - 0.3)
        order = tf.cast(tf.math.rint([2.0, 1.0, 0.0] + 0.0 * hidden[0, 0]), tf.int32)
        return tf.gather(hidden @ weights, order, axis=1)

    for model in (quantized, gathered):
        assert read(model, batch.x).notes == ()


def test_values_are_followed_through_each_output_of_a_gradient_of_its_own(batch: Any) -> None:
    weights = tf.constant(np.random.default_rng(0).normal(size=(64, 3)), tf.float32)

    @tf.custom_gradient
    def both(one: tf.Tensor, other: tf.Tensor) -> Any:
        return (tf.identity(one), tf.identity(other)), lambda *upstream: upstream

    def model(x: tf.Tensor, training: bool = False) -> tf.Tensor:
        logits = tf.reshape(x, [-1, 64]) @ weights
        return tf.concat(both(tf.nn.relu(logits), 2.0 * logits), axis=1)

    (note,) = read(model, batch.x).notes
    assert "Relu" in note
