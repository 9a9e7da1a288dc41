"""Trainings of the small world in memory, without files, and one batch of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import tensorflow as tf
import tf_keras
from small_world import CLASSES, SHAPE, small_images, training_task

from robustness.config import ThreatModel
from trainer.config import TrainerConfig, TrainingTask
from trainer.dataset import Split
from trainer.network import build_network
from trainer.step import Batch
from trainer.training import Training
from trainer.validation import Scores

EPSILON = 0.1
LINF = ThreatModel(epsilon=EPSILON)
IMAGES = 12
"""Images of a batch."""

EPOCHS, STEPS = 4, 6
"""Length of a training, and of an epoch."""

MEDIOCRE = Scores(0.5, 0.5, float("nan"))
"""What a validation measures that attacks nothing."""


def small_network() -> tf_keras.Model:
    """A convolution and a dense layer."""
    tf_keras.utils.set_random_seed(4)
    return build_network(TrainerConfig(filters=(4,), dense=(16,)), SHAPE, CLASSES)


def small_batch() -> Batch:
    """What a recipe sees, at the full radius."""
    split = small_split(IMAGES, seed=1)
    noise = np.random.default_rng(2).uniform(-1, 1, split.image.shape).astype(np.float32)
    return Batch(
        x=tf.constant(split.image),
        y=tf.constant(split.label),
        noise=tf.constant(noise),
        epsilon=tf.constant(EPSILON),
        ramp=tf.constant(1.0),
    )


def small_split(n: int, seed: int) -> Split:
    """Images and labels as they are read from files."""
    images, labels = small_images(n, seed)
    return Split(images / np.float32(255), labels)


def task_of(
    recipe: str = "pgd", recipe_changes: dict[str, object] | None = None, **changes: object
) -> dict[str, Any]:
    """A Trainer node's custom_config."""
    return training_task(recipe, recipe_changes, **({"epochs": EPOCHS} | changes))


def training_of(task: dict[str, Any], folder: Path, images: int = STEPS * 16) -> Training:
    """A training with the same images for training and validation, and checkpoints in a folder."""
    split = small_split(images, seed=0)
    settings = pydantic.TypeAdapter(TrainingTask).validate_python(task | {"checkpoints": ""})
    return Training(settings, tf.distribute.get_strategy(), split, split, str(folder))
