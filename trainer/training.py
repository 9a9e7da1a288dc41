"""One model in training: built, resumed where it was killed, watched, exported."""

import dataclasses
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras

from foundation.errors import ConfigError, RunError
from trainer.checkpoints import Checkpoints, Progress
from trainer.config import CERTIFIED_RECIPES, Precision, RecipeName, TrainingTask
from trainer.dataset import training_batches
from trainer.export import export_model
from trainer.network import build_network
from trainer.nsl import adversarial_regularization
from trainer.progress import LogProgress
from trainer.recipes import Recipe, build_recipe
from trainer.schedules import LearningRate
from trainer.step import RecipeModel
from trainer.strategy import agreed, is_chief, scaled
from trainer.validation import Scores, Validator
from trainer.watch import Watch

log = logging.getLogger("gauntlet.trainer")

AS_SHIPPED = (RecipeName.UNDEFENDED, RecipeName.TUTORIAL)
"""Recipes that export their last epoch, as others' published numbers do."""

MOST_ATTACK_STEPS = 8
"""Up to so many steps an attack is strengthened when training overfits to it."""


class Training:
    """A training of one model.

    Args:
        task: what to train.
        strategy: on which devices.
        train, validation: columns `image` float32 [n, h, w, c] and `label` int64 [n].
        checkpoints: folder of this training alone.
    """

    def __init__(
        self,
        task: TrainingTask,
        strategy: tf.distribute.Strategy,
        train: dict[str, Any],
        validation: dict[str, Any],
        checkpoints: str,
    ) -> None:
        config = task.config
        self._task, self._strategy, self._train = task, strategy, train
        self._batch, self._rate = scaled(config, strategy.num_replicas_in_sync, len(train["label"]))
        self._steps_per_epoch = len(train["label"]) // self._batch
        self._exported = build_network(
            config, task.image_shape, task.classes
        )  # float32, on one device
        tf_keras.utils.set_random_seed(task.seed)
        with strategy.scope(), _precision(config.precision):
            self._network = build_network(config, task.image_shape, task.classes)
            self._model, self._recipe = self._build()
        self._validator = Validator(
            self._exported, validation, task.threat, config.validation_images
        )
        self._checkpoints = Checkpoints(
            checkpoints,
            self._network,
            self._model.optimizer,
            self._exported,
            writes=is_chief(strategy),
        )

    @property
    def trained(self) -> tf_keras.Model:
        """After `run`, the network with the weights to export: float32, on one device."""
        return self._exported

    def begin_with(self, model: str) -> None:
        """Take the weights of an exported model.

        Raises:
            ConfigError: it is another network.
        """
        weights = tf_keras.models.load_model(model, compile=False).get_weights()
        theirs, ours = (
            [w.shape for w in network] for network in (weights, self._network.get_weights())
        )
        if theirs != ours:
            raise ConfigError(
                f"trainer.warm_start: the blessed model's weights have the shapes {theirs}, this "
                f"network's {ours}; train the same network, or set trainer.warm_start=false"
            )
        self._network.set_weights(weights)
        log.info("beginning with the weights of %s", model)

    def run(self, logs: str) -> Progress:
        """Train up to the last epoch, from the last checkpoint where there is one.

        When single-step training overfits to its own attack, the epoch is taken back and training
        goes on with twice the attack steps.

        Args:
            logs: folder for TensorBoard.

        Returns:
            The metrics of every epoch, and which one was best.
        """
        with (
            self._strategy.scope()
        ):  # now that the weights are there: moving averages begin with them
            self._model.optimizer.build(self._network.trainable_variables)
        progress, epochs = self._restored(), self._task.config.epochs
        log.info(
            "training %s: %d weights on %d replicas, batches of %d, %s",
            self._task.recipe.name, self._network.count_params(), self._strategy.num_replicas_in_sync, self._batch,
            f"going on after epoch {progress.epoch}" if progress.epoch else "from the start",
        )  # fmt: skip
        while progress.epoch < epochs:
            watch = self._fit(progress, logs)
            progress = watch.progress
            if watch.collapsed:
                progress = self._taken_back(progress)
        if is_chief(self._strategy):  # the others may be here before the best weights are on disk
            self._checkpoints.restore_best(progress)
            log.info("the weights of epoch %d are exported", progress.best_epoch)
        return progress

    def export(self, transform: tft.TFTransformOutput, directory: str, progress: Progress) -> None:
        """Write the best weights as a SavedModel, on the chief, and remove the checkpoints.

        The other workers wait for it. TFX looks for the directory on each of them: where they do
        not share the chief's, they leave an empty one.
        """
        if is_chief(self._strategy):
            history = {"epochs": progress.history, "best_epoch": progress.best_epoch}
            export_model(
                self._exported, transform, directory, dataclasses.asdict(self._task), history
            )
            log.info("exported to %s", directory)
            self._checkpoints.discard()
        agreed(self._strategy, [0.0])
        if not tf.io.gfile.exists(directory):
            tf.io.gfile.makedirs(directory)

    def _build(self) -> tuple[tf_keras.Model, Recipe | None]:
        """The compiled Keras model, and its recipe unless that is NSL's own model."""
        task, config = self._task, self._task.config
        steps = self._steps_per_epoch * config.epochs
        averages = (
            {"use_ema": True, "ema_momentum": config.weight_averaging}
            if config.weight_averaging
            else {}
        )
        optimizer = tf_keras.optimizers.Adam(
            LearningRate(config.schedule, self._rate, steps),
            global_clipnorm=config.gradient_clip or None,
            **averages,
        )
        if (
            config.precision is Precision.MIXED_FLOAT16
        ):  # Keras would, but fails at NSL's model within a model
            optimizer = tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
        if task.recipe.name is RecipeName.TUTORIAL:
            model = adversarial_regularization(self._network, task.recipe)
            model.compile(
                optimizer, tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            )
            return model, None
        recipe = build_recipe(task.recipe, self._network, task.threat, self._exported)
        model = RecipeModel(
            self._network,
            recipe,
            epsilon=task.threat.epsilon * task.recipe.epsilon_factor,
            ramp_steps=task.recipe.ramp * steps,
            global_batch=self._batch,
            l1=config.l1,
            seed=task.seed,
        )
        model.compile(optimizer)
        return model, recipe

    def _fit(self, progress: Progress, logs: str) -> Watch:
        """Train from where `progress` is, up to the end or a collapse."""
        recipe, epochs = self._recipe, self._task.config.epochs
        if recipe is not None and progress.attack_steps > recipe.attack_steps:
            recipe.attack_steps = progress.attack_steps
            self._model.make_train_function(force=True)
        name = self._task.recipe.name
        selects = name not in AS_SHIPPED
        watch = Watch(
            self._validator,
            self._checkpoints,
            progress,
            classes=self._task.classes,
            first_selected=max(1, math.ceil(self._task.recipe.ramp * epochs))
            if selects
            else epochs,
            score=_score(name),
            collapses=recipe is not None and 0 < recipe.attack_steps < MOST_ATTACK_STEPS,
        )
        callbacks = [watch, LogProgress(log, self._steps_per_epoch * epochs)]
        if is_chief(self._strategy):
            callbacks.append(
                tf_keras.callbacks.TensorBoard(logs, write_graph=False, profile_batch=0)
            )
        batches = training_batches(
            self._train,
            self._batch,
            self._task.seed,
            first_step=progress.epoch * self._steps_per_epoch,
            positions=recipe is not None,
        )
        self._model.fit(
            self._strategy.distribute_datasets_from_function(batches),
            initial_epoch=progress.epoch,
            epochs=epochs,
            steps_per_epoch=self._steps_per_epoch,
            callbacks=callbacks,
            verbose=0,
        )
        return watch

    def _restored(self) -> Progress:
        """The last whole epoch, the same on all workers."""
        progress = self._checkpoints.restore()
        (mean,) = agreed(self._strategy, [float(progress.epoch)])
        if mean != progress.epoch:
            raise RunError(
                f"this worker would go on after epoch {progress.epoch}, others would not: all "
                f"workers must reach the folder of checkpoints, {self._checkpoints.folder}"
            )
        return progress

    def _taken_back(self, collapsed: Progress) -> Progress:
        """Where the last checkpoint is, with twice the attack steps of the training that
        collapsed."""
        steps = min(
            2 * max(collapsed.attack_steps, self._task.recipe.attack_steps), MOST_ATTACK_STEPS
        )
        progress = dataclasses.replace(self._checkpoints.restore(), attack_steps=steps)
        log.info(
            "going back to the end of epoch %d, and on with %d attack steps", progress.epoch, steps
        )
        return progress


def _score(recipe: RecipeName) -> Callable[[Scores], float]:
    """By what the exported epoch is chosen: what a recipe is for."""
    if recipe in CERTIFIED_RECIPES:
        return lambda scores: scores.adversarial + scores.certified
    return lambda scores: scores.adversarial


@contextmanager
def _precision(precision: Precision) -> Iterator[None]:
    """Keras's policy for the layers that are made meanwhile."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(str(precision))
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
