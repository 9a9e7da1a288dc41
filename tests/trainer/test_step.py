"""One training step of every recipe: by hand, compiled by XLA as a TPU runs it, and in mixed
precision."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from replicas import RECIPES, task_of
from small_training import IMAGES, LINF, small_split, training_of

from trainer.config import Precision
from trainer.recipe_config import (
    AttackedConfig,
    FastConfig,
    MtlIbpConfig,
    PgdConfig,
    RecipeConfig,
    SabrConfig,
    TradesConfig,
    UndefendedConfig,
)
from trainer.recipes import build_recipe
from trainer.step import Batch, Course, RecipeModel
from trainer.training import Training

OURS = [recipe for recipe in RECIPES if recipe != "tutorial"]
"""NSL's own model is not made for XLA: it looks its features up by name on the host."""


def recipe_model(network: tf_keras.Model, config: RecipeConfig, l1: float = 0.0) -> RecipeModel:
    course = Course(steps=10, global_batch=IMAGES, l1=l1, seed=5)
    return build_recipe(config, network, LINF).model(tf_keras.optimizers.SGD(0.1), course)


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
    model = recipe_model(network, UndefendedConfig(), l1=0.01)
    for moved, gradient in zip(one_step(model, batch), gradients, strict=True):
        np.testing.assert_allclose(moved, -0.1 * gradient, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [FastConfig, PgdConfig, TradesConfig, MtlIbpConfig, SabrConfig],
    ids=lambda config: config.name,
)
def test_at_radius_0_an_attack_changes_nothing(
    config: type[AttackedConfig], network: tf_keras.Model, batch: Batch
) -> None:
    """In the first step of a ramp every recipe descends the clean cross-entropy."""
    weights = network.get_weights()
    plain = one_step(recipe_model(network, UndefendedConfig()), batch)
    network.set_weights(weights)
    ramped = one_step(recipe_model(network, config(ramp=1.0)), batch)
    for a, b in zip(plain, ramped, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_noise_of_an_image_follows_its_place_in_the_global_batch(
    network: tf_keras.Model, batch: Batch
) -> None:
    """Two halves, as two replicas have them, sum to the step of the whole."""
    weights = network.get_weights()
    whole = one_step(recipe_model(network, FastConfig()), batch)
    halves = []
    for half in (slice(0, 6), slice(6, 12)):
        network.set_weights(weights)
        model = recipe_model(network, FastConfig())
        position = tf.range(IMAGES, dtype=tf.int64)[half]
        model.train_step({"image": batch.x[half], "label": batch.y[half], "position": position})
        halves.append([a - b for a, b in zip(network.get_weights(), weights, strict=True)])
    for a, b, c in zip(whole, *halves, strict=True):
        np.testing.assert_allclose(a, b + c, atol=1e-5)


def training(recipe: str, folder: Path, **changes: object) -> Training:
    built = training_of(task_of(recipe, **changes), folder, images=32)
    built._model.optimizer.build(built._network.trainable_variables)
    return built


def replica_batch(recipe: str) -> dict[str, tf.Tensor]:
    data = {name: tf.constant(column) for name, column in small_split(16, 1)._asdict().items()}
    return data if recipe == "tutorial" else data | {"position": tf.range(16, dtype=tf.int64)}


def two_steps(built: Training, recipe: str, jit_compile: bool) -> tuple[float, list[np.ndarray]]:
    """Loss and weights after two steps; every shape in the graph is static."""
    model, data = built._model, replica_batch(recipe)
    step = tf.function(model.train_step, jit_compile=jit_compile)
    concrete = step.get_concrete_function(data)
    assert all(
        tensor.shape.is_fully_defined() for tensor in concrete.inputs if tensor.dtype != tf.resource
    )
    for _ in range(2):
        logs = step(data)
    return float(logs["loss"]), built._network.get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", OURS)
def test_xla_compiles_the_step_and_gives_the_same(recipe: str, tmp_path: Path) -> None:
    """A host operation, a dynamic shape or a variable made inside would not compile."""
    loss, weights = two_steps(training(recipe, tmp_path), recipe, jit_compile=False)
    xla_loss, xla_weights = two_steps(training(recipe, tmp_path), recipe, jit_compile=True)
    assert xla_loss == pytest.approx(loss, rel=1e-5)
    for a, b in zip(weights, xla_weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [Precision.MIXED_BFLOAT16, Precision.MIXED_FLOAT16])
@pytest.mark.parametrize("recipe", RECIPES)
def test_mixed_precision_trains_float32_weights(
    recipe: str, precision: Precision, tmp_path: Path
) -> None:
    built = training(recipe, tmp_path, precision=precision)
    inner = [
        layer
        for layer in built._network.layers
        if isinstance(layer, tf_keras.layers.Conv2D | tf_keras.layers.Dense)
    ]
    assert {layer.compute_dtype for layer in inner} == {precision.removeprefix("mixed_"), "float32"}
    before = built._network.get_weights()
    loss, after = two_steps(built, recipe, jit_compile=False)
    assert np.isfinite(loss)
    assert {weight.dtype for weight in after} == {np.dtype(np.float32)}
    moved = [np.abs(a - b).max() for a, b in zip(before, after, strict=True)]
    assert min(moved) > 1e-4, "some weights did not move"
    assert np.all(np.isfinite(np.concatenate([np.ravel(weight) for weight in after])))
    assert built._exported.compute_dtype == "float32"
    assert {layer.compute_dtype for layer in built._exported.layers} == {"float32"}
