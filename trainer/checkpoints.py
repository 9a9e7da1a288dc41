"""What a killed training goes on from: the weights and the optimizer after an epoch, and the best
weights so far.

The folder holds `epoch-N` and `best-N` (TensorFlow checkpoints) and `state.json`, which names the
two that count and is replaced last, so a kill at any moment leaves the state of a whole epoch.
"""

import dataclasses
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pydantic
import tensorflow as tf
import tf_keras

from foundation.errors import RunError
from foundation.json import dumps
from foundation.whole import sync_tree, write_text

STATE = "state.json"


Metrics = dict[str, float]
"""What was measured of an epoch, by name."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training has come.

    epoch: number of epochs done. attack_steps: attack steps of the recipe where they have been
    raised, otherwise 0. best_epoch, best_score: the epoch whose weights are exported and its score,
    0 and None before there is one. history: metrics of every epoch.
    """

    epoch: int = 0
    attack_steps: int = 0
    best_epoch: int = 0
    best_score: float | None = None
    history: tuple[Metrics, ...] = ()

    def after(self, metrics: Metrics, score: float, selected: bool) -> "Progress":
        """The next epoch is done. It is the best when it may be selected and no other has a higher
        score."""
        progress = dataclasses.replace(self, epoch=self.epoch + 1, history=(*self.history, metrics))
        best = selected and (self.best_score is None or score >= self.best_score)
        if not best:
            return progress
        return dataclasses.replace(progress, best_epoch=progress.epoch, best_score=score)


class Checkpoints:
    """Saves and restores a training.

    Args:
        folder: folder for this training alone, created on the first save. Local or gs://.
        network, optimizer: what is in training; the optimizer is built before the first `restore`.
        best: network that has the weights of the best epoch when that epoch is saved, and after
            `restore_best`.
        writes: whether this worker is the chief. Any other takes part in saving (a distributed
            variable may need all workers to be read) and keeps nothing.
    """

    def __init__(
        self,
        folder: str,
        network: tf_keras.Model,
        optimizer: tf_keras.optimizers.Optimizer,
        best: tf_keras.Model,
        writes: bool = True,
    ) -> None:
        self.folder, self._writes = folder, writes
        self._training = tf.train.Checkpoint(network=network, optimizer=optimizer)
        self._best = tf.train.Checkpoint(network=best)

    def save(self, progress: Progress) -> None:
        """Save the training after `progress.epoch`, and the best network when that epoch is the
        best."""
        with tempfile.TemporaryDirectory() as discarded:
            folder = self.folder if self._writes else discarded
            tf.io.gfile.makedirs(folder)
            self._training.write(os.path.join(folder, f"epoch-{progress.epoch}"))
            if not self._writes:
                return
        if progress.best_epoch == progress.epoch:
            self._best.write(os.path.join(self.folder, f"best-{progress.epoch}"))
        state = os.path.join(self.folder, STATE)
        if "://" not in self.folder:
            sync_tree(Path(self.folder))  # before the state that names these files
        write_text(state, dumps(progress, indent=None))
        self._remove_all_but(f"epoch-{progress.epoch}", f"best-{progress.best_epoch}")

    def restore(self) -> Progress:
        """Bring back the newest state, if there is one, and say how far it had come.

        Raises:
            RunError: it is damaged. Nothing is removed and nothing begins again: the user decides
                whether the hours in it are lost.
        """
        state = os.path.join(self.folder, STATE)
        if not tf.io.gfile.exists(state):
            return Progress()
        try:
            with tf.io.gfile.GFile(state) as file:
                progress = pydantic.TypeAdapter(Progress).validate_json(file.read())
        except ValueError as error:
            raise self._damaged(STATE, error) from error
        self._read(self._training, f"epoch-{progress.epoch}")
        return progress

    def restore_best(self, progress: Progress) -> None:
        """Bring the best weights back into the network for them.

        Raises:
            RunError: they are damaged.
        """
        self._read(self._best, f"best-{progress.best_epoch}")

    def discard(self) -> None:
        """Remove everything: the training is done."""
        if self._writes and tf.io.gfile.exists(self.folder):
            tf.io.gfile.rmtree(self.folder)

    def _read(self, checkpoint: tf.train.Checkpoint, name: str) -> None:
        try:
            checkpoint.read(os.path.join(self.folder, name)).assert_existing_objects_matched()
        except (tf.errors.OpError, AssertionError, ValueError, IndexError) as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: Exception) -> RunError:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return RunError(
            f"the checkpoint {os.path.join(self.folder, name)} of an interrupted training cannot "
            f"be read: {reason}; bring it back, or remove the folder {self.folder} to train from "
            "the start"
        )

    def _remove_all_but(self, *kept: str) -> None:
        for name in tf.io.gfile.listdir(self.folder):
            path = os.path.join(self.folder, name)
            if not name.startswith(("epoch-", "best-")) or name.partition(".")[0] in kept:
                continue
            if tf.io.gfile.isdir(path):  # TensorFlow's, of a write that was killed
                tf.io.gfile.rmtree(path)
            else:
                tf.io.gfile.remove(path)
