"""What every recipe minimises: against hand-written losses in NumPy and closed forms."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_training import EPSILON, LINF
from small_world import CLASSES, SHAPE, small_images

from foundation.errors import ConfigError
from robustness.bounds.certifier import Certifier
from robustness.config import BoundName, Norm, ThreatModel
from trainer.recipe_config import (
    FastConfig,
    MtlIbpConfig,
    PgdConfig,
    RecipeConfig,
    SabrConfig,
    TradesConfig,
    TutorialConfig,
    UndefendedConfig,
)
from trainer.recipes import build_recipe
from trainer.step import Batch, Course
from trainer.validation import Scores

COURSE = Course(steps=60, global_batch=16, l1=0.0, seed=0)


def by_name(value: object) -> str | None:
    """The id of a recipe."""
    return getattr(value, "name", None)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def cross_entropy(logits: np.ndarray, y: tf.Tensor) -> np.ndarray:
    return -log_softmax(np.asarray(logits))[np.arange(len(y)), y]


def test_neighbours_raise_the_loss_of_a_network(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(PgdConfig(attack_steps=3), network, LINF)
    x_adv = recipe.neighbours(batch)
    assert np.mean(cross_entropy(network(x_adv), batch.y)) > 1.2 * np.mean(
        cross_entropy(network(batch.x), batch.y)
    )


@pytest.mark.parametrize("config", [UndefendedConfig(), FastConfig(), PgdConfig()], ids=by_name)
def test_cross_entropy_of_what_is_looked_at(
    network: tf_keras.Model, batch: Batch, config: RecipeConfig
) -> None:
    recipe = build_recipe(config, network, LINF)
    x_adv = recipe.neighbours(batch)
    assert np.array_equal(x_adv, batch.x) is (config.name == "undefended")
    np.testing.assert_allclose(
        recipe.losses(batch, x_adv), cross_entropy(network(x_adv), batch.y), rtol=1e-4
    )


def test_trades_adds_beta_times_the_divergence(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(TradesConfig(beta=3.0), network, LINF)
    x_adv = recipe.neighbours(batch)
    clean, attacked = (log_softmax(np.asarray(network(x))) for x in (batch.x, x_adv))
    divergence = np.sum(np.exp(clean) * (clean - attacked), axis=1)
    assert np.all(divergence >= 0)
    expected = cross_entropy(network(batch.x), batch.y) + 3.0 * divergence
    np.testing.assert_allclose(recipe.losses(batch, x_adv), expected, rtol=1e-3)


def test_trades_does_not_attack_with_the_labels(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(TradesConfig(), network, LINF)
    others = batch._replace(y=(batch.y + 1) % CLASSES)
    np.testing.assert_array_equal(recipe.neighbours(batch), recipe.neighbours(others))


def interval_losses(
    network: tf_keras.Model, x: np.ndarray, y: tf.Tensor, radius: float
) -> np.ndarray:
    """By the certifier, which is another implementation."""
    margins = Certifier(network, SHAPE, radius).tighten(BoundName.IBP, np.asarray(x), np.asarray(y))
    return cross_entropy(np.where(np.isinf(margins), 0.0, -margins), y)


def test_mtl_ibp_mixes_attack_and_bound(network: tf_keras.Model, batch: Batch) -> None:
    recipe = build_recipe(MtlIbpConfig(bound_share=0.3, ramp=0.5, warm_up=0.5), network, LINF)
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
    recipe = build_recipe(SabrConfig(box=0.25), network, LINF)
    x_adv = recipe.neighbours(batch)
    centre = np.clip(x_adv, batch.x - 0.75 * EPSILON, batch.x + 0.75 * EPSILON)
    expected = interval_losses(network, centre, batch.y, 0.25 * EPSILON)
    np.testing.assert_allclose(recipe.losses(batch, x_adv), expected, rtol=1e-3)
    whole = build_recipe(SabrConfig(box=1.0), network, LINF)
    ball = interval_losses(network, batch.x, batch.y, EPSILON)
    np.testing.assert_allclose(whole.losses(batch, x_adv), ball, rtol=1e-3)


def test_a_bound_covers_the_attack(network: tf_keras.Model, batch: Batch) -> None:
    """The loss of the bound is at least that of any image in the ball."""
    recipe = build_recipe(MtlIbpConfig(bound_share=1.0), network, LINF)
    x_adv = recipe.neighbours(batch)
    assert np.all(recipe.losses(batch, x_adv) >= cross_entropy(network(x_adv), batch.y) - 1e-4)


@pytest.mark.parametrize("config", [MtlIbpConfig(), SabrConfig()], ids=by_name)
def test_recipes_with_a_bound_need_one(config: RecipeConfig, network: tf_keras.Model) -> None:
    inputs = tf_keras.Input(SHAPE)
    x = tf_keras.layers.Dense(4, activation=tf.sin)(tf_keras.layers.Flatten()(inputs))
    unbounded = tf_keras.Model(inputs, tf_keras.layers.Dense(CLASSES)(x))
    with pytest.raises(
        ConfigError,
        match=rf"recipe.name={config.name} .* no bound is known for the operation Sin .* recipes "
        "without one are undefended, tutorial, fast, pgd, trades$",
    ):
        build_recipe(config, unbounded, LINF)
    with pytest.raises(ConfigError, match=r"needs threat\.norm=linf"):
        build_recipe(config, network, ThreatModel(norm=Norm.L2, epsilon=1.0))


def test_tutorial_recipe_adds_the_weighted_loss_of_the_fgsm_neighbour(
    network: tf_keras.Model,
) -> None:
    """Against a hand-written loss: cross-entropy + 0.2 * cross-entropy at x + 0.2 *
    sign(gradient)."""
    recipe = build_recipe(TutorialConfig(), network, LINF)
    model = recipe.model(tf_keras.optimizers.Adam(), COURSE)
    images, labels = small_images(16, seed=1)
    x, y = tf.constant(images / np.float32(255)), tf.constant(labels)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with tf.GradientTape() as tape:
        tape.watch(x)
        clean = loss(y, network(x))
    neighbour = x + 0.2 * tf.sign(tape.gradient(clean, x))
    expected = clean + 0.2 * loss(y, network(neighbour))
    model({"image": x, "label": y})
    assert float(tf.add_n(model.losses)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("config", "first", "score"),
    [
        (UndefendedConfig(), 10, 0.5),
        (TutorialConfig(), 10, 0.5),
        (FastConfig(), 1, 0.5),
        (PgdConfig(ramp=0.35), 4, 0.5),
        (TradesConfig(ramp=1.0), 10, 0.5),
        (MtlIbpConfig(), 1, 0.75),
        (SabrConfig(ramp=0.4), 4, 0.75),
    ],
    ids=by_name,
)
def test_by_what_an_epoch_is_chosen(
    network: tf_keras.Model, config: RecipeConfig, first: int, score: float
) -> None:
    """Others' published numbers are those of the last epoch. Ours is the best one with the full
    radius, and recipes with a bound want proofs too."""
    recipe = build_recipe(config, network, LINF)
    assert recipe.first_selected(epochs=10) == first
    assert recipe.score(Scores(clean=0.9, adversarial=0.5, certified=0.25)) == score


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        (UndefendedConfig(), 0),
        (TutorialConfig(), 0),
        (FastConfig(), 1),
        (PgdConfig(attack_steps=3), 3),
        (SabrConfig(attack_steps=2), 2),
    ],
    ids=by_name,
)
def test_every_recipe_is_a_compiled_model(
    network: tf_keras.Model, config: RecipeConfig, steps: int
) -> None:
    """NSL's own too, which does not read the places of images in a batch."""
    recipe = build_recipe(config, network, LINF)
    optimizer = tf_keras.optimizers.Adam()
    model = recipe.model(optimizer, COURSE)
    assert model.optimizer is optimizer
    assert recipe.attack_steps == steps
    assert recipe.wants_positions is (config.name != "tutorial")
