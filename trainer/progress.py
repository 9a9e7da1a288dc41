"""Training progress as log records: whoever runs the pipeline may draw bars from them."""

import logging
from typing import Any

import tf_keras

from foundation.events import Progress


class LogProgress(tf_keras.callbacks.Callback):
    """Reports steps done, and logs the results of each epoch.

    trial: number of the training, from 1, and how many follow one another, where several do.
    """

    def __init__(
        self, log: logging.Logger, total_steps: int, trial: tuple[int, int] = (1, 1)
    ) -> None:
        super().__init__()
        self._log = log
        self._number, self._trials = trial
        self._progress = Progress("training", total_steps * self._trials)
        self._earlier = (self._number - 1) * total_steps
        self._first_of_epoch = 0
        self._message = ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_of_epoch = epoch * self.params["steps"]
        trial = f"trial {self._number} of {self._trials}, " if self._trials > 1 else ""
        self._message = f"{trial}epoch {epoch + 1} of {self.params['epochs']}"

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._progress.update(self._earlier + self._first_of_epoch + batch + 1, self._message)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        shown = " ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._log.info("epoch %d: %s", epoch + 1, shown)
