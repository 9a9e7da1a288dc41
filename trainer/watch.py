"""After every epoch of a training: measure it, stop it where it has gone wrong, save it."""

import dataclasses
import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import tf_keras

from foundation.errors import RunError
from trainer.checkpoints import Checkpoints, Progress
from trainer.strategy import agreed
from trainer.validation import Scores, Validator

log = logging.getLogger("gauntlet.trainer")

DIVERGED = 10.0
"""A loss so many times the first epoch's, and that of a network that knows nothing, will not come
back."""

EXPLODED = 1000.0
"""The same in the first epoch, over the first step's: an untrained interval bound grows with the
radius before it shrinks."""

COLLAPSE = 0.2
"""A loss of accuracy under attack, from one epoch to a later one, that training noise does not
explain."""


class Watch(tf_keras.callbacks.Callback):
    """Adds `val_clean`, `val_adversarial` and `val_certified` to the metrics of an epoch, and looks
    at them.

    Args:
        validator: measures weights.
        checkpoints: saves what is good.
        progress: where the training begins.
        classes: number of labels.
        first_selected: the first epoch whose weights may be exported; before it the radius has
            still to grow.
        score: what makes an epoch the best; of equals, the later one.
        collapses: whether a sudden loss of accuracy under attack stops `fit` (`collapsed` is True
            then and the epoch is not saved).
    """

    def __init__(
        self,
        validator: Validator,
        checkpoints: Checkpoints,
        progress: Progress,
        *,
        classes: int,
        first_selected: int,
        score: Callable[[Scores], float],
        collapses: bool,
    ) -> None:
        super().__init__()
        self.progress, self.collapsed = progress, False
        self._validator, self._checkpoints, self._classes = validator, checkpoints, classes
        self._first_selected, self._score, self._collapses = first_selected, score, collapses
        self._first_step: float | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.collapsed = False

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._first_step is None and logs:
            self._first_step = float(logs["loss"])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {} if logs is None else logs
        self._check_loss(epoch, logs["loss"])
        scores = Scores(
            *agreed(
                self.model.distribute_strategy, self._validator.measure(self._averaged_weights())
            )
        )
        logs |= scores.shown()
        if self._collapses and self._has_collapsed(scores):
            self.collapsed = self.model.stop_training = True
            log.warning(
                "epoch %d: accuracy under attack fell from %.1f %% to %.1f %%: the training "
                "overfits to its own attack",
                epoch + 1,
                100 * max(e["val_adversarial"] for e in self.progress.history),
                100 * scores.adversarial,
            )
            return
        self._keep(epoch + 1, scores, {name: float(value) for name, value in logs.items()})

    def _averaged_weights(self) -> list[npt.NDArray[np.generic]]:
        """The weights that would be exported now, moving averages where the optimizer keeps
        them."""
        network = getattr(self.model, "network", None) or self.model.base_model  # NSL's name for it
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

    def _keep(self, epoch: int, scores: Scores, metrics: dict[str, float]) -> None:
        progress = dataclasses.replace(
            self.progress, epoch=epoch, history=(*self.progress.history, metrics)
        )
        score = self._score(scores)
        if epoch >= self._first_selected and score >= progress.best_score:
            progress = dataclasses.replace(progress, best_epoch=epoch, best_score=score)
        self.progress = progress
        self._checkpoints.save(progress)
