"""One model in training: built, resumed where it was killed, watched, exported."""

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras

from foundation.errors import ConfigError, RunError
from trainer.checkpoints import Checkpoints, Progress
from trainer.config import Precision, TrainingTask
from trainer.dataset import Split, training_batches
from trainer.export import History, export_model
from trainer.network import build_network
from trainer.progress import LogProgress
from trainer.recipes import build_recipe
from trainer.schedules import LearningRate
from trainer.step import Course
from trainer.strategy import agreed, is_chief, scaled
from trainer.validation import Validator
from trainer.watch import Watch

log = logging.getLogger("gauntlet.trainer")

MOST_ATTACK_STEPS = 8
"""When training overfits to its attack, the attack gets more steps, at most these."""


class Training:
    """A training of one model.

    Args:
        task: what to train.
        strategy: devices to train on.
        train, validation: splits of the data.
        checkpoints: folder for this training alone.
        trial: its number among several that follow one another, see `LogProgress`.
    """

    def __init__(
        self,
        task: TrainingTask,
        strategy: tf.distribute.Strategy,
        train: Split,
        validation: Split,
        checkpoints: str,
        trial: tuple[int, int] = (1, 1),
    ) -> None:
        config = task.config
        self._trial = trial
        self._task, self._strategy, self._train = task, strategy, train
        self._batch, self._rate = scaled(config, strategy.num_replicas_in_sync, len(train.label))
        self._steps_per_epoch = len(train.label) // self._batch
        self._steps = self._steps_per_epoch * config.epochs
        # In float32 and on one device, whatever the training is.
        self._exported = build_network(config, task.image_shape, task.classes)
        tf_keras.utils.set_random_seed(task.seed)
        with strategy.scope(), _precision(config.precision):
            self._network = build_network(config, task.image_shape, task.classes)
            self._recipe = build_recipe(task.recipe, self._network, task.threat, self._exported)
            course = Course(
                steps=self._steps, global_batch=self._batch, l1=config.l1, seed=task.seed
            )
            self._model = self._recipe.model(self._optimizer(), course)
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
        with self._strategy.scope():  # not before: moving averages begin with these weights
            self._model.optimizer.build(self._network.trainable_variables)
        progress, epochs = self._restored(), self._task.config.epochs
        log.info(
            "training %s: %d weights on %d replicas, batches of %d, %s",
            self._task.recipe.name,
            self._network.count_params(),
            self._strategy.num_replicas_in_sync,
            self._batch,
            f"going on after epoch {progress.epoch}" if progress.epoch else "from the start",
        )
        while progress.epoch < epochs:
            watch = self._fit(progress, logs)
            progress = watch.progress
            if watch.collapsed:
                progress = self._taken_back()
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
            history = History(epochs=progress.history, best_epoch=progress.best_epoch)
            settings = dataclasses.asdict(self._task)
            export_model(
                self._exported,
                transform,
                directory,
                settings,
                dataclasses.asdict(history),
                class_names=self._task.class_names,
            )
            log.info("exported to %s", directory)
            self._checkpoints.discard()
        agreed(self._strategy, [0.0])
        if not tf.io.gfile.exists(directory):
            tf.io.gfile.makedirs(directory)

    def _optimizer(self) -> tf_keras.optimizers.Optimizer:
        config = self._task.config
        optimizer = tf_keras.optimizers.Adam(
            LearningRate(config.schedule, self._rate, self._steps),
            global_clipnorm=config.gradient_clip or None,
            use_ema=config.weight_averaging > 0,
            ema_momentum=config.weight_averaging,
        )
        # Keras would wrap it by itself, except that it fails at NSL's model within a model.
        if config.precision is Precision.MIXED_FLOAT16:
            return tf_keras.mixed_precision.LossScaleOptimizer(optimizer)
        return optimizer

    def _fit(self, progress: Progress, logs: str) -> Watch:
        """Train from where `progress` is, up to the end or a collapse."""
        recipe, epochs = self._recipe, self._task.config.epochs
        if progress.attack_steps > recipe.attack_steps:
            recipe.attack_steps = progress.attack_steps
            self._model.make_train_function(force=True)
        watch = Watch(
            recipe,
            self._validator,
            self._checkpoints,
            progress,
            classes=self._task.classes,
            epochs=epochs,
            may_collapse=0 < recipe.attack_steps < MOST_ATTACK_STEPS,
        )
        callbacks = [watch, LogProgress(log, self._steps, self._trial)]
        if is_chief(self._strategy):
            callbacks.append(
                tf_keras.callbacks.TensorBoard(logs, write_graph=False, profile_batch=0)
            )
        batches = training_batches(
            self._train,
            self._batch,
            self._task.seed,
            first_step=progress.epoch * self._steps_per_epoch,
            positions=recipe.wants_positions,
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

    def _taken_back(self) -> Progress:
        """Where the last checkpoint is, with twice the attack steps."""
        steps = min(2 * self._recipe.attack_steps, MOST_ATTACK_STEPS)
        progress = dataclasses.replace(self._checkpoints.restore(), attack_steps=steps)
        log.info(
            "going back to the end of epoch %d, and on with %d attack steps", progress.epoch, steps
        )
        return progress


@contextmanager
def _precision(precision: Precision) -> Iterator[None]:
    """The policy by which Keras makes layers meanwhile."""
    before = tf_keras.mixed_precision.global_policy()
    tf_keras.mixed_precision.set_global_policy(str(precision))
    try:
        yield
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
