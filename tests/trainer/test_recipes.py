"""Recipes, neighbours and networks: against hand-written losses in NumPy and closed forms."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import CLASSES, SHAPE, small_images

from foundation.errors import ConfigError
from robustness.ball import inside_ball
from robustness.bounds.certifier import Certifier
from robustness.bounds.propagation import Propagation
from robustness.bounds.trace import trace
from robustness.config import BoundName, Norm, ThreatModel
from trainer.config import Initialization, Padding, RecipeConfig, RecipeName, TrainerConfig
from trainer.neighbours import neighbours
from trainer.network import build_network
from trainer.recipes import Batch, build_recipe
from trainer.step import RecipeModel

EPSILON = 0.1
LINF = ThreatModel(epsilon=EPSILON)
IMAGES = 12
ATTACKED = [name for name in RecipeName if name not in (RecipeName.UNDEFENDED, RecipeName.TUTORIAL)]


@pytest.fixture
def network() -> tf_keras.Model:
    tf_keras.utils.set_random_seed(4)
    return build_network(TrainerConfig(filters=(4,), dense=(16,)), SHAPE, CLASSES)


@pytest.fixture
def batch() -> Batch:
    images, labels = small_images(IMAGES, seed=1)
    noise = np.random.default_rng(2).uniform(-1, 1, images.shape).astype(np.float32)
    x, y = tf.constant(images / np.float32(255)), tf.constant(labels)
    return Batch(
        x=x, y=y, noise=tf.constant(noise), epsilon=tf.constant(EPSILON), ramp=tf.constant(1.0)
    )


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, y: tf.Tensor) -> np.ndarray:
    return -log_softmax(np.asarray(logits))[np.arange(len(y)), y]


def linear_loss(direction: np.ndarray) -> tf.Tensor:
    return lambda x: tf.reduce_sum(x * direction, axis=[1, 2, 3])


def test_one_step_begins_at_the_noise_and_goes_past_the_radius(batch: Batch) -> None:
    """Wong et al.: clip(x + eps * noise + 1.25 eps * sign(gradient)) to the ball, then to [0,
    1]."""
    direction = np.random.default_rng(3).normal(size=batch.x.shape).astype(np.float32)
    moved = EPSILON * batch.noise + 1.25 * EPSILON * np.sign(direction)
    expected = np.clip(batch.x + np.clip(moved, -EPSILON, EPSILON), 0, 1)
    found = neighbours(linear_loss(direction), batch.x, batch.noise, Norm.LINF, batch.epsilon, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.mean(np.abs(found - batch.x) < 0.99 * EPSILON) > 0.1, "the random start is still seen"


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize(
    "threat", [LINF, ThreatModel(norm=Norm.L2, epsilon=1.0)], ids=["linf", "l2"]
)
def test_neighbours_lie_in_the_ball(batch: Batch, threat: ThreatModel, steps: int) -> None:
    direction = np.random.default_rng(3).normal(size=batch.x.shape).astype(np.float32)
    epsilon = tf.constant(threat.epsilon, tf.float32)
    found = neighbours(linear_loss(direction), batch.x, batch.noise, threat.norm, epsilon, steps)
    assert np.all(inside_ball(found, batch.x, threat))


def test_several_steps_reach_the_best_corner(batch: Batch) -> None:
    """On a linear loss: x + eps * sign(direction), cut to [0, 1]."""
    direction = np.random.default_rng(3).normal(size=batch.x.shape).astype(np.float32)
    found = neighbours(linear_loss(direction), batch.x, batch.noise, Norm.LINF, batch.epsilon, 4)
    np.testing.assert_allclose(
        found, np.clip(batch.x + EPSILON * np.sign(direction), 0, 1), atol=1e-6
    )


def test_neighbours_raise_the_loss_of_a_network(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(RecipeConfig(name=RecipeName.PGD, attack_steps=3), network, LINF)
    x_adv = recipe.neighbours(batch)
    assert np.mean(cross_entropy(network(x_adv), batch.y)) > 1.2 * np.mean(
        cross_entropy(network(batch.x), batch.y)
    )


@pytest.mark.parametrize("name", [RecipeName.UNDEFENDED, RecipeName.FAST, RecipeName.PGD])
def test_cross_entropy_of_what_is_looked_at(
    network: tf_keras.Model, batch: Batch, name: RecipeName
) -> None:
    recipe = build_recipe(RecipeConfig(name=name), network, LINF)
    x_adv = recipe.neighbours(batch)
    assert np.array_equal(x_adv, batch.x) is (name is RecipeName.UNDEFENDED)
    np.testing.assert_allclose(
        recipe.losses(batch, x_adv), cross_entropy(network(x_adv), batch.y), rtol=1e-4
    )


def test_trades_adds_beta_times_the_divergence(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(RecipeConfig(name=RecipeName.TRADES, beta=3.0), network, LINF)
    x_adv = recipe.neighbours(batch)
    clean, attacked = (log_softmax(np.asarray(network(x))) for x in (batch.x, x_adv))
    divergence = np.sum(np.exp(clean) * (clean - attacked), axis=1)
    assert np.all(divergence >= 0)
    expected = cross_entropy(network(batch.x), batch.y) + 3.0 * divergence
    np.testing.assert_allclose(recipe.losses(batch, x_adv), expected, rtol=1e-3)


def test_trades_does_not_attack_with_the_labels(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(RecipeConfig(name=RecipeName.TRADES), network, LINF)
    others = batch._replace(y=(batch.y + 1) % CLASSES)
    np.testing.assert_array_equal(recipe.neighbours(batch), recipe.neighbours(others))


def interval_losses(
    network: tf_keras.Model, x: np.ndarray, y: tf.Tensor, radius: float
) -> np.ndarray:
    """By the certifier, which is another implementation."""
    margins = Certifier(network, SHAPE, radius).tighten(BoundName.IBP, np.asarray(x), np.asarray(y))
    return cross_entropy(np.where(np.isinf(margins), 0.0, -margins), y)


def test_mtl_ibp_mixes_attack_and_bound(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(
        RecipeConfig(name=RecipeName.MTL_IBP, bound_share=0.3, warm_up=0.5), network, LINF
    )
    x_adv = recipe.neighbours(batch)
    attacked = cross_entropy(network(x_adv), batch.y)
    expected = 0.7 * attacked + 0.3 * interval_losses(network, batch.x, batch.y, EPSILON)
    np.testing.assert_allclose(recipe.losses(batch, x_adv), expected, rtol=1e-3)
    early = recipe.losses(batch._replace(ramp=tf.constant(0.5)), x_adv)
    low, high = tf.maximum(batch.x - EPSILON, 0.0), tf.minimum(batch.x + EPSILON, 1.0)
    boxes = recipe.bounds.boxes(low, high)
    warm_up = 0.5 * 0.5 * recipe.bounds.warm_up_loss(boxes)
    assert np.all(warm_up > 0.001)
    np.testing.assert_allclose(early - expected, 0.3 * warm_up, rtol=2e-2)


def test_sabr_bounds_a_small_box_inside_the_ball(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(RecipeConfig(name=RecipeName.SABR, box=0.25), network, LINF)
    x_adv = recipe.neighbours(batch)
    centre = np.clip(x_adv, batch.x - 0.75 * EPSILON, batch.x + 0.75 * EPSILON)
    expected = interval_losses(network, centre, batch.y, 0.25 * EPSILON)
    np.testing.assert_allclose(recipe.losses(batch, x_adv), expected, rtol=1e-3)
    whole = build_recipe(RecipeConfig(name=RecipeName.SABR, box=1.0), network, LINF)
    ball = interval_losses(network, batch.x, batch.y, EPSILON)
    np.testing.assert_allclose(whole.losses(batch, x_adv), ball, rtol=1e-3)


def test_a_bound_covers_the_attack(network: tf_keras.Model, batch: Batch) -> None:
    """The loss of the bound is at least that of any image in the ball."""
    recipe = build_recipe(RecipeConfig(name=RecipeName.MTL_IBP, bound_share=1.0), network, LINF)
    x_adv = recipe.neighbours(batch)
    assert np.all(recipe.losses(batch, x_adv) >= cross_entropy(network(x_adv), batch.y) - 1e-4)


@pytest.mark.parametrize("name", [RecipeName.MTL_IBP, RecipeName.SABR])
def test_recipes_with_a_bound_need_one(name: RecipeName, network: tf_keras.Model) -> None:
    inputs = tf_keras.Input(SHAPE)
    x = tf_keras.layers.Dense(4, activation="elu")(tf_keras.layers.Flatten()(inputs))
    unbounded = tf_keras.Model(inputs, tf_keras.layers.Dense(CLASSES)(x))
    with pytest.raises(
        ConfigError, match=rf"recipe.name={name} .* no bound is known for the operation Elu .* fast"
    ):
        build_recipe(RecipeConfig(name=name), unbounded, LINF)
    with pytest.raises(ConfigError, match=r"needs threat\.norm=linf"):
        build_recipe(RecipeConfig(name=name), network, ThreatModel(norm=Norm.L2, epsilon=1.0))


def recipe_model(
    network: tf_keras.Model, recipe: RecipeConfig, ramp_steps: float = 0.0, l1: float = 0.0
) -> RecipeModel:
    model = RecipeModel(
        network,
        build_recipe(recipe, network, LINF),
        epsilon=EPSILON,
        ramp_steps=ramp_steps,
        global_batch=IMAGES,
        l1=l1,
        seed=5,
    )
    model.compile(tf_keras.optimizers.SGD(0.1))
    return model


def one_step(model: RecipeModel, batch: Batch) -> list[np.ndarray]:
    """How far one step moves each weight."""
    before = model.network.get_weights()
    model.train_step(
        {"image": batch.x, "label": batch.y, "position": tf.range(IMAGES, dtype=tf.int64)}
    )
    return [a - b for a, b in zip(model.network.get_weights(), before, strict=True)]


def test_a_step_descends_the_mean_loss_and_l1(network: tf_keras.Model, batch: Batch) -> None:
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(batch.y, network(batch.x))
        )
        loss += 0.01 * sum(
            tf.reduce_sum(tf.abs(v)) for v in network.trainable_variables if "kernel" in v.name
        )
    gradients = tape.gradient(loss, network.trainable_variables)
    model = recipe_model(network, RecipeConfig(name=RecipeName.UNDEFENDED), l1=0.01)
    for moved, gradient in zip(one_step(model, batch), gradients, strict=True):
        np.testing.assert_allclose(moved, -0.1 * gradient, atol=1e-6)


@pytest.mark.parametrize("name", ATTACKED)
def test_at_radius_0_an_attack_changes_nothing(
    name: RecipeName, network: tf_keras.Model, batch: Batch
) -> None:
    """In the first step of a ramp every recipe descends the clean cross-entropy."""
    weights = network.get_weights()
    plain = one_step(recipe_model(network, RecipeConfig(name=RecipeName.UNDEFENDED)), batch)
    network.set_weights(weights)
    ramped = one_step(recipe_model(network, RecipeConfig(name=name), ramp_steps=10.0), batch)
    for a, b in zip(plain, ramped, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_noise_of_an_image_follows_its_place_in_the_global_batch(
    network: tf_keras.Model, batch: Batch
) -> None:
    """Two halves, as two replicas have them, sum to the step of the whole."""
    weights = network.get_weights()
    whole = one_step(recipe_model(network, RecipeConfig(name=RecipeName.FAST)), batch)
    halves = []
    for half in (slice(0, 6), slice(6, 12)):
        network.set_weights(weights)
        model = recipe_model(network, RecipeConfig(name=RecipeName.FAST))
        position = tf.range(IMAGES, dtype=tf.int64)[half]
        model.train_step({"image": batch.x[half], "label": batch.y[half], "position": position})
        halves.append([a - b for a, b in zip(network.get_weights(), weights, strict=True)])
    for a, b, c in zip(whole, *halves, strict=True):
        np.testing.assert_allclose(a, b + c, atol=1e-5)


def test_ibp_initialisation_keeps_interval_widths() -> None:
    """Mean width behind each ReLU layer over that before it: 1, within the scatter of the draw;
    Glorot's grows."""

    def growth(initialization: Initialization) -> float:
        tf_keras.utils.set_random_seed(1)
        config = TrainerConfig(filters=(16,), dense=(300, 300, 300), initialization=initialization)
        propagation = Propagation(trace(build_network(config, SHAPE, CLASSES), SHAPE), 0.05)
        boxes = propagation.boxes(tf.fill((1, *SHAPE), 0.5))
        widths = [
            float(tf.reduce_mean(boxes[place].high - boxes[place].low))
            for place in propagation.relus
        ]
        return (widths[-1] / widths[0]) ** (1 / (len(widths) - 1))

    assert growth(Initialization.IBP) == pytest.approx(1.0, abs=0.1)
    assert growth(Initialization.GLOROT) > 3


def test_the_strided_network_of_fast_adversarial_training() -> None:
    """Wong et al. 2020: 272 + 8,224 + 156,900 + 1,010 weights."""
    config = TrainerConfig(
        filters=(16, 32),
        kernel_size=(4,),
        stride=(2,),
        padding=Padding.SAME,
        pool_size=1,
        dense=(100,),
    )
    assert build_network(config, (28, 28, 1), 10).count_params() == 166_406


@pytest.mark.parametrize("padding", list(Padding))
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [13, 28])
def test_the_predicted_feature_size_is_the_networks(
    size: int, stride: int, padding: Padding
) -> None:
    config = TrainerConfig(
        filters=(4, 4),
        kernel_size=(3, 2),
        stride=(stride, 1),
        padding=padding,
        pool_size=3 - stride,
    )
    built = build_network(config, (size, size + 3, 1), CLASSES)
    (flatten,) = (layer for layer in built.layers if isinstance(layer, tf_keras.layers.Flatten))
    assert config.feature_size(size, size + 3) == flatten.input_shape[1:3]


# A user's own networks.


def good(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    layers = tf_keras.layers
    return tf_keras.Sequential([layers.Input(image_shape), layers.Flatten(), layers.Dense(classes)])


def gives_probabilities(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    model = good(image_shape, classes)
    model.add(tf_keras.layers.Softmax())
    return model


def wrong_images(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return good((9, 9, 1), classes)


def wrong_classes(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return good(image_shape, 7)


def unbuilt(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return tf_keras.Sequential([tf_keras.layers.Flatten(), tf_keras.layers.Dense(classes)])


def no_model(image_shape: tuple[int, int, int], classes: int) -> int:
    return 3


def raises(image_shape: tuple[int, int, int], classes: int) -> tf_keras.Model:
    return good((*image_shape, 1), "ten")


def test_a_network_in_the_working_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where that folder is not on Python's path, as under the command line; a package may
    import its own."""
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sizes.py").write_text("UNITS = 5")
    (package / "nets.py").write_text(
        "import tf_keras\nfrom mine.sizes import UNITS\n"
        "def small(shape, classes):\n"
        "    layers = tf_keras.layers\n"
        "    return tf_keras.Sequential([layers.Input(shape), layers.Flatten(), "
        "layers.Dense(UNITS), layers.Dense(classes)])\n"
    )
    monkeypatch.chdir(tmp_path)
    assert str(tmp_path) not in sys.path
    assert (
        build_network(TrainerConfig(network="mine.nets:small"), SHAPE, CLASSES).count_params()
        == 65 * 5 + 6 * CLASSES
    )


def test_a_users_network_is_taken() -> None:
    built = build_network(TrainerConfig(network="test_recipes:good"), SHAPE, CLASSES)
    assert built.count_params() == 64 * CLASSES + CLASSES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere.to:find", "cannot be imported: No module named 'nowhere'"),
        ("test_recipes:missing", "cannot be imported: .*missing"),
        ("test_recipes:gives_probabilities", "gives probabilities; it must give logits"),
        (
            "test_recipes:wrong_images",
            r"must take images of shape \(None, 8, 8, 1\), got \(None, 9, 9, 1\)",
        ),
        ("test_recipes:wrong_classes", r"must give logits of shape \(None, 3\), got \(None, 7\)"),
        ("test_recipes:unbuilt", "without an input shape: begin it with tf_keras.Input"),
        ("test_recipes:no_model", "must give a Keras 2 model .*, got builtins.int"),
        ("test_recipes:raises", r"failed when called with image_shape=\(8, 8, 1\), classes=3: "),
    ],
)
def test_a_wrong_network_is_named(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"trainer.network={name} .*{message}"):
        build_network(TrainerConfig(network=name), SHAPE, CLASSES)
