"""One training step of every recipe: compiled by XLA, as a TPU runs it, and in mixed precision."""

from typing import Any

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tf_keras
from replicas import RECIPES, task_of
from small_world import SHAPE, small_images

from robustness.config import Norm
from trainer.config import Precision, TrainingTask
from trainer.neighbours import neighbours
from trainer.training import Training

OURS = [recipe for recipe in RECIPES if recipe != "tutorial"]
"""NSL's own model is not made for XLA: it looks its features up by name on the host."""


def training(recipe: str, folder: Any, **changes: object) -> Training:
    images, labels = small_images(32, seed=0)
    split = {"image": images / np.float32(255), "label": labels}
    task = pydantic.TypeAdapter(TrainingTask).validate_python(
        task_of(recipe, **changes) | {"checkpoints": ""}
    )
    built = Training(task, tf.distribute.get_strategy(), split, split, str(folder))
    built._model.optimizer.build(built._network.trainable_variables)
    return built


def batch(recipe: str) -> dict[str, tf.Tensor]:
    images, labels = small_images(16, seed=1)
    data = {"image": tf.constant(images / np.float32(255)), "label": tf.constant(labels)}
    return data if recipe == "tutorial" else data | {"position": tf.range(16, dtype=tf.int64)}


def two_steps(built: Training, recipe: str, jit_compile: bool) -> tuple[float, list[np.ndarray]]:
    """Loss and weights after two steps; every shape in the graph is static."""
    model, data = built._model, batch(recipe)
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
def test_xla_compiles_the_step_and_gives_the_same(recipe: str, tmp_path: Any) -> None:
    """A host operation, a dynamic shape or a variable made inside would not compile."""
    loss, weights = two_steps(training(recipe, tmp_path), recipe, jit_compile=False)
    xla_loss, xla_weights = two_steps(training(recipe, tmp_path), recipe, jit_compile=True)
    assert xla_loss == pytest.approx(loss, rel=1e-5)
    for a, b in zip(weights, xla_weights, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-4)


@pytest.mark.parametrize("norm", list(Norm))
def test_in_float16_images_that_the_network_is_sure_of_are_attacked_too(norm: Norm) -> None:
    """Probabilities of exp(-14) are no float16 any more when they come back through a layer as a
    gradient of 0.01."""
    dense = tf_keras.layers.Dense(
        2, dtype="mixed_float16", kernel_initializer=tf_keras.initializers.Constant(0.01)
    )
    flat = tf_keras.Sequential([tf_keras.Input(SHAPE), tf_keras.layers.Flatten(), dense])

    def loss(x: tf.Tensor) -> tf.Tensor:
        sure = tf.cast(flat(x), tf.float32) + tf.constant([14.0, 0.0])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(
            tf.zeros(len(x), tf.int64), sure * [1.0, 2.0]
        )

    x, still = tf.fill([4, *SHAPE], 0.5), tf.zeros([4, *SHAPE])
    moved = neighbours(loss, x, still, norm, tf.constant(0.1), steps=1)
    assert np.abs(moved - x).max(axis=(1, 2, 3)).min() > 0.001


@pytest.mark.slow
@pytest.mark.parametrize("precision", [Precision.MIXED_BFLOAT16, Precision.MIXED_FLOAT16])
@pytest.mark.parametrize("recipe", RECIPES)
def test_mixed_precision_trains_float32_weights(
    recipe: str, precision: Precision, tmp_path: Any
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
