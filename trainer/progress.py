"""Training progress as log records: whoever runs the pipeline may draw bars from them."""

import logging
import time
from typing import Any

import tf_keras

SECONDS_BETWEEN_RECORDS = 0.5


class LogProgress(tf_keras.callbacks.Callback):
    """Logs steps done and epoch results; records carry `progress`, a pair (done, total) of
    steps."""

    def __init__(self, log: logging.Logger, total_steps: int) -> None:
        super().__init__()
        self._log = log
        self._total = total_steps
        self._done = 0
        self._next = 0.0
        self._first_of_epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._first_of_epoch = epoch * self.params["steps"]

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._done = self._first_of_epoch + batch + 1
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_RECORDS
            self._log.info("training", extra={"progress": (self._done, self._total)})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        shown = " ".join(f"{name} {value:.4f}" for name, value in (logs or {}).items())
        self._log.info("epoch %d: %s", epoch + 1, shown)
