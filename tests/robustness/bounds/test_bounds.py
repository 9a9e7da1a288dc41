"""Certified bounds: against the exact minimum of tiny networks, against samples, and in float32."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from scipy.optimize import linprog

from robustness.ball import BALL_TOLERANCE
from robustness.bounds import branching, layers, rounding
from robustness.bounds.certifier import Certifier, proven
from robustness.bounds.trace import NoBoundError, trace
from robustness.bounds.training import TrainingBounds
from robustness.config import BoundName

SHAPE = (8, 8, 2)
CLASSES = 4
keras = tf_keras.layers


def dense(x: tf.Tensor) -> tf.Tensor:
    return keras.Dense(6, activation="relu")(keras.Flatten()(x))


def convolutions(x: tf.Tensor) -> tf.Tensor:
    x = keras.Conv2D(3, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Flatten()(keras.Conv2D(4, (2, 3), dilation_rate=1, activation="relu")(x))


def max_pooling(x: tf.Tensor) -> tf.Tensor:
    x = keras.MaxPooling2D(3, strides=2, padding="same")(
        keras.Conv2D(3, 3)(x)
    )  # windows overlap, values below 0
    return keras.Flatten()(
        keras.MaxPooling2D(2)(keras.Conv2D(3, 2, padding="same", activation="relu")(x))
    )


def average_pooling(x: tf.Tensor) -> tf.Tensor:
    x = keras.AveragePooling2D(3, strides=2, padding="same")(
        keras.Conv2D(3, 3, activation="relu")(x)
    )
    return keras.GlobalAveragePooling2D()(keras.Conv2D(5, 2, activation="relu")(x))


def normalisation(x: tf.Tensor) -> tf.Tensor:
    x = keras.Rescaling(3.0, offset=-0.4)((x - 0.13) / 0.31)
    x = keras.ReLU()(keras.BatchNormalization()(keras.Conv2D(3, 3, strides=2)(x)))
    return keras.ReLU()(keras.BatchNormalization()(keras.Dense(6)(keras.Flatten()(x))))


def residual(x: tf.Tensor) -> tf.Tensor:
    x = keras.Conv2D(3, 3, padding="same", activation="relu")(keras.ZeroPadding2D(1)(x))
    inner = keras.Conv2D(3, 3, padding="same")(keras.ReLU()(keras.Conv2D(3, 3, padding="same")(x)))
    x = keras.ReLU()(keras.Add()([x, inner]))
    return keras.Flatten()(
        keras.Subtract()([keras.MaxPooling2D(2)(x), keras.AveragePooling2D(2)(x)])
    )


NETWORKS = [dense, convolutions, max_pooling, average_pooling, normalisation, residual]
EVERY_NETWORK = pytest.mark.parametrize("body", NETWORKS, ids=lambda body: body.__name__)


def network(body: Callable[[tf.Tensor], tf.Tensor], seed: int = 0) -> tf_keras.Model:
    """A network with random weights, offsets and statistics, all far from their defaults."""
    tf_keras.utils.set_random_seed(seed)
    image = keras.Input(SHAPE)
    model = tf_keras.Model(image, keras.Dense(CLASSES)(body(image)))
    random = np.random.default_rng(seed)
    for variable in model.variables:
        spread = random.uniform(0.5, 1.5, variable.shape) if "variance" in variable.name else 0.3
        noise = random.normal(size=variable.shape) * 0.2 if "variance" not in variable.name else 0.0
        variable.assign(
            variable * spread / 0.3 + noise if "variance" in variable.name else variable + noise
        )
    return model


def images(n: int = 12) -> np.ndarray:
    x = np.random.default_rng(1).uniform(size=(n, *SHAPE)).astype(np.float32)
    x[0], x[1] = 0.0, 1.0  # where the ball is cut
    return x


def margins_at(model: tf_keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """logit y - every logit, as the network computes them in float32; infinity at y."""
    logits = model(x, training=False).numpy()
    found = logits[np.arange(len(y)), y][:, None] - logits
    found[np.arange(len(y)), y] = np.inf
    return found


def predictions(model: tf_keras.Model, x: np.ndarray) -> np.ndarray:
    return np.argmax(model(x, training=False).numpy(), axis=1)


@pytest.mark.slow
@EVERY_NETWORK
@pytest.mark.parametrize("epsilon", [0.01, 0.2])
def test_no_point_of_the_ball_lies_below_a_bound(
    body: Callable[[tf.Tensor], tf.Tensor], epsilon: float
) -> None:
    model, x = network(body), images()
    y = predictions(model, x)
    certifier = Certifier(model, SHAPE, epsilon)
    bounds = [certifier.tighten(bound, x, y) for bound in BoundName]
    random = np.random.default_rng(2)
    lowest = np.full_like(bounds[0], np.inf)
    gradient = gradient_of_margins(model)
    for trial in range(30):
        point = x + epsilon * np.sign(random.normal(size=x.shape)) * random.choice(
            [1.0, random.uniform()]
        )
        for _ in range(4):  # a few steps down the gradient of one margin
            point = np.clip(np.clip(point, x - epsilon, x + epsilon), 0, 1).astype(np.float32)
            lowest = np.minimum(lowest, margins_at(model, point, y))
            point = point - epsilon / 2 * np.sign(
                gradient(point, y, (y + 1 + trial % (CLASSES - 1)) % CLASSES)
            )
    for bound in bounds:
        assert np.all(bound <= lowest)
        assert np.isinf(bound[np.arange(len(y)), y]).all()


def gradient_of_margins(model: tf_keras.Model) -> Callable[..., np.ndarray]:
    @tf.function
    def gradient(x: tf.Tensor, y: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            logits = model(x, training=False)
            margin = tf.gather(logits, y, batch_dims=1) - tf.gather(logits, other, batch_dims=1)
        return tape.gradient(margin, x)

    return lambda x, y, other: gradient(tf.constant(x), tf.constant(y), tf.constant(other)).numpy()


@pytest.mark.slow
@EVERY_NETWORK
def test_without_a_ball_a_bound_is_the_margin(body: Callable[[tf.Tensor], tf.Tensor]) -> None:
    """Catches a wrong transpose, a forgotten bias, a wrong padding: all that sampling might miss on
    the loose side."""
    model, x = network(body), images()
    y = predictions(model, x)
    exact = margins_at(model, x, y)
    others = np.isfinite(exact)
    certifier = Certifier(model, SHAPE, 0.0)
    repeated, other = np.nonzero(others)
    crown = certifier.crown_margins(x[repeated], y[repeated], other)
    for bounds in (certifier.tighten(BoundName.IBP, x, y)[others], crown):
        assert np.all(bounds <= exact[others])
        np.testing.assert_allclose(bounds, exact[others], atol=3e-2)


def test_linear_networks_are_exact() -> None:
    """Convolution, pooling, normalisation and dense layers without a ReLU: epsilon times the 1-norm
    of the gradient."""
    tf_keras.utils.set_random_seed(0)
    image = keras.Input(SHAPE)
    x = keras.BatchNormalization()(keras.Conv2D(3, 3, strides=2, padding="same")(image))
    x = keras.Flatten()(keras.AveragePooling2D(2)(x))
    model = tf_keras.Model(image, keras.Dense(CLASSES)(x))
    x = 0.3 + 0.4 * images()  # far from 0 and 1
    y, epsilon = predictions(model, x), 0.1
    other = (y + 1) % CLASSES
    slope = np.abs(gradient_of_margins(model)(x, y, other)).reshape(len(x), -1).sum(axis=1)
    exact = (
        margins_at(model, x, y)[np.arange(len(y)), other] - (epsilon + 2 * BALL_TOLERANCE) * slope
    )
    certifier = Certifier(model, SHAPE, epsilon)
    interval = certifier.tighten(BoundName.IBP, x, y)[
        np.arange(len(y)), other
    ]  # merged: there is no ReLU to stop at
    for bounds in (
        interval,
        certifier.crown_margins(x, y, other),
        certifier.alpha_crown_margins(x, y, other),
    ):
        np.testing.assert_allclose(bounds, exact, atol=1e-4)


TINY = (1, 2, 1)


def tiny_network(
    seed: int, hidden: tuple[int, ...] = (5,)
) -> tuple[tf_keras.Model, list[np.ndarray]]:
    """Two pixels, one or two layers of ReLUs, three classes; and its weights."""
    random = np.random.default_rng(seed)
    sizes = [2, *hidden, 3]
    weights = [
        random.normal(size=shape).astype(np.float32)
        for inputs, outputs in itertools.pairwise(sizes)
        for shape in ((inputs, outputs), (outputs,))
    ]
    layers_of_relus = [keras.Dense(size, activation="relu") for size in hidden]
    model = tf_keras.Sequential(
        [keras.Input(TINY), keras.Flatten(), *layers_of_relus, keras.Dense(3)]
    )
    model.set_weights(weights)
    return model, weights


def exact_minimum(
    weights: list[np.ndarray], x: np.ndarray, y: int, other: int, epsilon: float
) -> float:
    """Of logit y - logit other over the ball: one linear programme for each pattern of active
    ReLUs."""
    w, b, v, c = (array.astype(np.float64) for array in weights)
    flat, lowest = x.ravel().astype(np.float64), np.inf
    box = list(zip(np.maximum(flat - epsilon, 0), np.minimum(flat + epsilon, 1), strict=True))
    direction, constant = v[:, y] - v[:, other], c[y] - c[other]
    for pattern in itertools.product([0.0, 1.0], repeat=len(b)):
        active = np.asarray(pattern)
        sign = 1 - 2 * active  # the pre-activation is >= 0 where active, <= 0 elsewhere
        objective = w @ (active * direction)
        solved = linprog(objective, A_ub=(w * sign).T, b_ub=-b * sign, bounds=box)
        if solved.status == 0:
            lowest = min(lowest, solved.fun + b @ (active * direction) + constant)
    return lowest


@pytest.mark.parametrize("seed", range(4))
def test_bounds_stay_below_the_exact_minimum_in_their_order(seed: int) -> None:
    model, weights = tiny_network(seed)
    x = np.random.default_rng(seed).uniform(size=(3, *TINY)).astype(np.float32)
    y, epsilon = predictions(model, x), 0.15
    other = (y + 1) % 3
    exact = [
        exact_minimum(weights, *one, epsilon + 2 * BALL_TOLERANCE)
        for one in zip(x, y, other, strict=True)
    ]
    certifier = Certifier(model, TINY, epsilon)
    rows = np.arange(3)
    ibp = certifier.tighten(BoundName.IBP, x, y)[rows, other]
    crown = certifier.crown_margins(x, y, other)
    alpha = certifier.alpha_crown_margins(x, y, other)
    assert np.all(ibp <= exact)
    assert np.all(crown <= exact)
    assert np.all(alpha <= exact)
    assert np.all(alpha >= crown)
    assert np.all(alpha >= ibp - 1e-5)
    np.testing.assert_allclose(alpha, exact, atol=0.8 * np.max(exact - ibp) + 1e-4)


def test_branch_and_bound_decides_what_a_fine_grid_decides() -> None:
    """Catches a wrong sign of a multiplier or a case that is lost (proves too much), and splits
    without effect."""
    model, _ = tiny_network(2, hidden=(6, 5))
    random = np.random.default_rng(0)
    x = random.uniform(size=(60, *TINY)).astype(np.float32)
    y, epsilon = predictions(model, x), 0.4
    other = (y + random.integers(1, 3, len(y))) % 3
    certifier = Certifier(model, TINY, epsilon)
    bounds, alpha = (
        certifier.branching_margins(x, y, other),
        certifier.alpha_crown_margins(x, y, other),
    )
    steps = np.linspace(-epsilon, epsilon, 201, dtype=np.float32)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, *TINY)
    lowest = np.array(
        [
            margins_at(model, np.clip(one + grid, 0, 1), np.full(len(grid), true))[:, wrong].min()
            for one, true, wrong in zip(x, y, other, strict=True)
        ]
    )
    assert np.all(bounds <= lowest)
    clear = np.abs(lowest) > 0.03
    np.testing.assert_array_equal(bounds[clear] > 0, lowest[clear] > 0)
    by_branching = (bounds > 0) & (alpha <= 0)
    assert by_branching.sum() >= 5, "alpha-CROWN proves all: the test sees nothing"
    assert (lowest[clear] < 0).sum() >= 5, "all is provable: the test sees nothing"


def test_branch_and_bound_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network(convolutions), images()
    y = predictions(model, x)
    monkeypatch.setattr(branching, "DOMAINS", 8)
    certifier = Certifier(model, SHAPE, 0.2)
    assert np.isneginf(certifier.branching_margins(x, y, (y + 1) % CLASSES)).any()


@pytest.mark.slow
def test_each_bound_is_tighter_than_the_cheaper_one_in_sum() -> None:
    gained = np.zeros(3)
    for seed in range(6):
        model, _ = tiny_network(seed)
        x = np.random.default_rng(seed).uniform(size=(40, *TINY)).astype(np.float32)
        y = predictions(model, x)
        certifier, other = Certifier(model, TINY, 0.15), (y + 1) % 3
        gained[0] += certifier.tighten(BoundName.IBP, x, y)[np.arange(40), other].sum()
        gained[1] += certifier.crown_margins(x, y, other).sum()
        gained[2] += certifier.alpha_crown_margins(x, y, other).sum()
    assert gained[0] < gained[1] < gained[2], (
        "alpha-CROWN optimises nothing, or CROWN is no better than intervals"
    )


def test_rounding_is_accounted_for() -> None:
    """Sums that cancel: another order of summation, as another kernel may take, gives another sign
    of the margin."""
    below = 0
    for seed in range(4):
        random = np.random.default_rng(seed)
        kernel = random.normal(size=(2000, 3)).astype(np.float32) * 1e3
        kernel[1000:] = -kernel[:1000] + random.normal(size=(1000, 3)).astype(np.float32) * 1e-4
        image = keras.Input((40, 50, 1))
        hidden = keras.Dense(3, activation="relu")(keras.Flatten()(image))
        model = tf_keras.Model(image, keras.Dense(3)(hidden))
        model.layers[2].set_weights([kernel, np.zeros(3, np.float32)])
        x = np.full((1, 40, 50, 1), random.uniform(0.3, 0.7), np.float32)
        y = predictions(model, x)
        certifier = Certifier(model, (40, 50, 1), 0.0)
        bounds = [certifier.tighten(bound, x, y)[0] for bound in (BoundName.IBP, BoundName.CROWN)]
        for _ in range(10):
            total = np.zeros(3, np.float32)
            for i in random.permutation(2000):
                total = total + x.ravel()[i] * kernel[i]
            logits = np.maximum(total, 0) @ model.layers[3].get_weights()[0]
            found = logits[y[0]] - logits
            found[y[0]] = np.inf
            assert np.all(bounds[0] <= found)
            assert np.all(bounds[1] <= found)
            below += int(np.any(found < 0))
    assert below, "no order of summation changed the prediction: the test sees nothing"


def test_weights_that_are_not_numbers_prove_nothing() -> None:
    model, x = network(dense), images()
    model.layers[-1].kernel.assign(tf.fill(model.layers[-1].kernel.shape, np.nan))
    assert not proven(
        Certifier(model, SHAPE, 0.0).tighten(BoundName.ALPHA_CROWN, x, np.zeros(len(x), np.int64))
    ).any()


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


def test_nothing_is_certified_on_a_gpu_in_tensor_float_32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [kind])
    with pytest.raises(NoBoundError, match="TensorFloat-32 is on"):
        Certifier(network(dense), SHAPE, 0.1)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        Certifier(network(dense), SHAPE, 0.1)
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(True)


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


@EVERY_NETWORK
def test_training_bounds_are_the_certifiers_up_to_rounding(
    body: Callable[[tf.Tensor], tf.Tensor],
) -> None:
    model, x = network(body), images()
    y = predictions(model, x)
    expected = Certifier(model, SHAPE, 0.05).tighten(BoundName.IBP, x, y)
    bounds = TrainingBounds(model, SHAPE)
    spans = bounds.spans(np.maximum(x - np.float32(0.05), 0), np.minimum(x + np.float32(0.05), 1))
    worst = bounds.worst_logits(spans, tf.constant(y)).numpy()
    assert np.all(worst[np.arange(len(y)), y] == 0)
    others = ~np.eye(CLASSES, dtype=bool)[y]
    np.testing.assert_allclose(worst[others], -expected[others], rtol=1e-3, atol=1e-3)


def test_training_bounds_follow_the_variables() -> None:
    """Their gradient agrees with a finite difference."""
    model, x = network(convolutions), images()
    y = tf.constant(predictions(model, x))
    bounds, bias = TrainingBounds(model, SHAPE), model.layers[1].bias

    def worst() -> tf.Tensor:
        return tf.reduce_sum(bounds.worst_logits(bounds.spans(x - 0.05, x + 0.05), y))

    with tf.GradientTape() as tape:
        before = worst()
    gradient = tape.gradient(before, bias)
    bias.assign_add([1e-3, 0.0, 0.0])
    np.testing.assert_allclose((worst() - before) / 1e-3, gradient[0], rtol=0.05)


def test_warm_up_loss_by_hand() -> None:
    """One ReLU layer on two pixels: widths 2 of the image become 2 and 8, and one ReLU of two is
    active."""
    inputs = tf_keras.Input((1, 2, 1))
    hidden = keras.Dense(2, activation="relu")(keras.Flatten()(inputs))
    model = tf_keras.Model(inputs, keras.Dense(2)(hidden))
    model.layers[2].set_weights([np.array([[1.0, 0.0], [0.0, 4.0]]), np.array([2.0, -9.0])])
    bounds = TrainingBounds(model, (1, 2, 1))
    spans = bounds.spans(tf.zeros((1, 1, 2, 1)), tf.fill((1, 1, 2, 1), 2.0))
    tightness = 0.5 - 1.0 / 2.5  # mean radii 1 of the image, 1 and 4 of the operands
    balance = 0.5 - 3.0 / 5.0  # centres 3 (active) and -5 (inactive)
    assert float(bounds.warm_up_loss(spans)[0]) == pytest.approx(
        tightness + max(balance, 0.0), abs=1e-6
    )
    model.layers[2].set_weights([np.array([[1.0, 0.0], [0.0, 4.0]]), np.array([2.0, -24.0])])
    spans = bounds.spans(tf.zeros((1, 1, 2, 1)), tf.fill((1, 1, 2, 1), 2.0))
    assert float(bounds.warm_up_loss(spans)[0]) == pytest.approx(
        tightness + 0.5 - 3.0 / 20.0, abs=1e-6
    )


def test_results_do_not_depend_on_the_batch_size() -> None:
    model, x = network(max_pooling), images()
    y = predictions(model, x)
    certifier = Certifier(model, SHAPE, 0.02)
    whole = certifier.tighten(BoundName.ALPHA_CROWN, x, y)
    parts = [
        certifier.tighten(BoundName.ALPHA_CROWN, x[i : i + 5], y[i : i + 5])
        for i in range(0, len(x), 5)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_gamma_is_the_textbook_bound() -> None:
    assert rounding.gamma(0) >= 8 * 2.0**-24
    assert rounding.gamma(992) == pytest.approx(1000 * 2.0**-24 / (1 - 1000 * 2.0**-24))
    assert layers.FEW == 4 * 2.0**-24
