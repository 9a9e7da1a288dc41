"""What a killed training goes on from: the weights and the optimizer after an epoch, and the best weights so far.

The folder holds `epoch-N` and `best-N` (TensorFlow checkpoints) and `state.json`, which names the two that
count and is replaced last, so a kill at any moment leaves the state of a whole epoch.
"""

import dataclasses
import json
import os
import tempfile
from dataclasses import dataclass, field
from typing import Any

import pydantic
import tensorflow as tf
import tf_keras

from robustness.errors import DataError

STATE = "state.json"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training has come.

    epoch: epochs done. attack_steps: of the recipe, which may have been raised. best_epoch, best_score: the epoch
    whose weights are exported, 0 before there is one. history: metrics by epoch.
    """

    epoch: int = 0
    attack_steps: int = 0
    best_epoch: int = 0
    best_score: float = float("-inf")
    history: tuple[dict[str, float], ...] = field(default=())


class Checkpoints:
    """Saves and restores a training.

    Args:
        folder: where; created on the first save. Local or gs://.
        network, optimizer: in training; the optimizer is built.
        best: a network that holds the best weights when `save` is told so, and after `restore_best`.
        writes: False on every worker but the chief, which takes part in saving (a distributed variable may need
            all workers to be read) and keeps nothing.
    """

    def __init__(
        self, folder: str, network: tf_keras.Model, optimizer: Any, best: tf_keras.Model, writes: bool = True
    ) -> None:
        self._folder, self._writes = folder, writes
        self._training = tf.train.Checkpoint(network=network, optimizer=optimizer)
        self._best = tf.train.Checkpoint(network=best)

    def save(self, progress: Progress) -> None:
        """Save the training after `progress.epoch`, and the best network when that epoch is the best."""
        with tempfile.TemporaryDirectory() as discarded:
            folder = self._folder if self._writes else discarded
            tf.io.gfile.makedirs(folder)
            self._training.write(os.path.join(folder, f"epoch-{progress.epoch}"))
            if not self._writes:
                return
        if progress.best_epoch == progress.epoch:
            self._best.write(os.path.join(self._folder, f"best-{progress.epoch}"))
        state = os.path.join(self._folder, STATE)
        with tf.io.gfile.GFile(state + ".new", "w") as file:
            file.write(json.dumps(dataclasses.asdict(progress)))
        tf.io.gfile.rename(state + ".new", state, overwrite=True)
        self._remove_all_but(f"epoch-{progress.epoch}", f"best-{progress.best_epoch}")

    def restore(self) -> Progress:
        """Bring back the newest state, if there is one, and say how far it had come.

        Raises:
            DataError: there is one that cannot be read.
        """
        state = os.path.join(self._folder, STATE)
        if not tf.io.gfile.exists(state):
            return Progress()
        try:
            with tf.io.gfile.GFile(state) as file:
                progress = pydantic.TypeAdapter(Progress).validate_json(file.read())
            self._training.read(os.path.join(self._folder, f"epoch-{progress.epoch}")).assert_existing_objects_matched()
        except (pydantic.ValidationError, tf.errors.OpError, AssertionError) as error:
            raise DataError(
                f"the checkpoints in {self._folder} cannot be read ({str(error).splitlines()[0]}); remove it to train "
                "from the start"
            ) from error
        return progress

    def restore_best(self, progress: Progress) -> None:
        """Bring the best weights back into the network for them."""
        self._best.read(os.path.join(self._folder, f"best-{progress.best_epoch}")).assert_existing_objects_matched()

    def discard(self) -> None:
        """Remove everything: the training is done."""
        if self._writes and tf.io.gfile.exists(self._folder):
            tf.io.gfile.rmtree(self._folder)

    def _remove_all_but(self, *kept: str) -> None:
        for name in tf.io.gfile.listdir(self._folder):
            if name.startswith(("epoch-", "best-")) and name.partition(".")[0] not in kept:
                tf.io.gfile.remove(os.path.join(self._folder, name))
