"""After every epoch of a training: measure it, stop it where it has gone wrong, save it."""

import logging
import math

import numpy as np
import numpy.typing as npt
import tf_keras

from foundation.errors import RunError
from trainer.checkpoints import Checkpoints, Progress
from trainer.recipes import Recipe
from trainer.strategy import agreed
from trainer.validation import Scores, Validator

log = logging.getLogger("gauntlet.trainer")

Logs = dict[str, float]
"""What Keras gives to a callback: metrics by name."""

DIVERGED = 10.0
"""Training has diverged when an epoch's loss is this many times that of the first epoch, and this
many times that of a network that knows nothing."""

EXPLODED = 1000.0
"""The same factor in the first epoch, over the loss of the first step. It is larger because the
interval bound of an untrained network grows with the radius before it shrinks."""

COLLAPSE = 0.2
"""Accuracy under attack that one epoch has and a later one has lost: more than chance explains."""


class Watch(tf_keras.callbacks.Callback):
    """Adds `val_clean`, `val_adversarial` and `val_certified` to the metrics of an epoch, and looks
    at them.

    A sudden loss of accuracy under attack stops `fit`: `collapsed` is True then, and the epoch is
    not saved. Of epochs with equal scores the last one is the best.

    Args:
        recipe: recipe of the training.
        validator: what measures weights.
        checkpoints: where every epoch is saved.
        progress: where the training begins.
        classes: number of labels.
        epochs: number of epochs of the whole training.
        may_collapse: whether a collapse would be answered.
    """

    def __init__(
        self,
        recipe: Recipe,
        validator: Validator,
        checkpoints: Checkpoints,
        progress: Progress,
        *,
        classes: int,
        epochs: int,
        may_collapse: bool,
    ) -> None:
        super().__init__()
        self.progress, self.collapsed = progress, False
        self._recipe, self._validator, self._checkpoints = recipe, validator, checkpoints
        self._classes, self._may_collapse = classes, may_collapse
        self._first_selected = recipe.first_selected(epochs)
        self._first_step: float | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.collapsed = False

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self._first_step is None and logs:
            self._first_step = float(logs["loss"])

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        logs = {} if logs is None else logs
        self._check_loss(epoch, logs["loss"])
        measured = self._validator.measure(self._averaged_weights())
        scores = Scores(*agreed(self.model.distribute_strategy, measured))
        logs |= scores.shown()
        if self._may_collapse and self._has_collapsed(scores):
            self.collapsed = self.model.stop_training = True
            log.warning(
                "epoch %d: accuracy under attack fell from %.1f %% to %.1f %%: the training "
                "overfits to its own attack",
                epoch + 1,
                100 * max(e["val_adversarial"] for e in self.progress.history),
                100 * scores.adversarial,
            )
            return
        self.progress = self.progress.after(
            {name: float(value) for name, value in logs.items()},
            self._recipe.score(scores),
            selected=epoch + 1 >= self._first_selected,
        )
        self._checkpoints.save(self.progress)

    def _averaged_weights(self) -> list[npt.NDArray[np.generic]]:
        """The weights that would be exported now, moving averages where the optimizer keeps
        them."""
        network = self._recipe.network
        training = network.get_weights()
        self.model.optimizer.finalize_variable_values(network.trainable_variables)
        averaged = network.get_weights()
        network.set_weights(training)
        return averaged

    def _check_loss(self, epoch: int, loss: float) -> None:
        knows_nothing, history = math.log(self._classes), self.progress.history
        if history:
            limit = DIVERGED * max(history[0]["loss"], knows_nothing)
        else:
            limit = EXPLODED * max(self._first_step or 0.0, knows_nothing)
        if not (loss <= limit and math.isfinite(loss)):
            raise RunError(
                f"training diverged: the loss of epoch {epoch + 1} is {loss:.4g}, expected at most "
                f"{limit:.4g}; lower trainer.learning_rate, set trainer.gradient_clip=1, or let "
                "recipe.ramp grow the radius more slowly"
            )

    def _has_collapsed(self, scores: Scores) -> bool:
        best = max((epoch["val_adversarial"] for epoch in self.progress.history), default=0.0)
        return scores.adversarial < best - COLLAPSE
