"""Training progress as log records: whoever runs the pipeline may draw bars from them."""

import logging
from typing import Any

import tf_keras

from foundation.events import Progress


class LogProgress(tf_keras.callbacks.Callback):
    """Reports steps done, and logs the results of each epoch."""

    def __init__(self, log: logging.Logger, total_steps: int) -> None:
        super().__init__()
        self._log = log
        self._progress = Progress("training", total_steps)
        self._done = 0
        self._first_of_epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_of_epoch = epoch * self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._done = self._first_of_epoch + batch + 1
        self._progress.update(self._done)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        shown = " ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._log.info("epoch %d: %s", epoch + 1, shown)
