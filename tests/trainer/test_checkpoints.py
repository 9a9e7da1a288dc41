"""Training that is killed, or finds damaged checkpoints."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from replicas import flat
from small_training import EPOCHS, MEDIOCRE, STEPS, task_of
from small_world import run_trainer, trainer_arguments

import trainer.checkpoints
import trainer.training
from foundation.errors import RunError
from trainer.checkpoints import Checkpoints, Progress
from trainer.progress import LogProgress
from trainer.validation import Validator

pytestmark = pytest.mark.usefixtures("measured", "weights_only")


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


def write_weights(
    model: tf_keras.Model, transform: object, directory: str, *_: object, **__: object
) -> None:
    os.makedirs(directory, exist_ok=True)
    np.save(f"{directory}/weights.npy", flat(model.get_weights()))


@pytest.fixture
def weights_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export of weights alone: a whole SavedModel takes longer than these trainings."""
    monkeypatch.setattr(trainer.training, "export_model", write_weights)


def exported(folder: Path) -> np.ndarray:
    return np.load(folder / "Format-Serving/weights.npy")


def on_call(
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    when: Callable[..., bool],
    half: Any = None,
) -> None:
    """Kill, once, when a function is called with such arguments, after `half` has done a part of
    its work."""
    original = getattr(owner, name)

    def call(*arguments: Any, **keywords: Any) -> Any:
        if when(*arguments):
            monkeypatch.setattr(owner, name, original)
            if half:
                half(*arguments)
            raise Killed
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, call)


def half_a_checkpoint(_: Any, prefix: str) -> None:
    """What TensorFlow leaves when it is killed while it writes one."""
    os.makedirs(f"{prefix}_temp")
    for file in (
        f"{prefix}_temp/part-00000-of-00001.data-00000-of-00001",
        f"{prefix}.data-00000-of-00001",
    ):
        Path(file).write_bytes(b"half")


def kill_at(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    match moment:
        case "in-an-epoch":
            on_call(
                monkeypatch,
                LogProgress,
                "on_train_batch_end",
                lambda self, batch, *_: (self._first_of_epoch, batch) == (2 * STEPS, 2),
            )
        case "writing-an-epoch":
            on_call(
                monkeypatch,
                tf.train.Checkpoint,
                "write",
                lambda _, p: p.endswith("epoch-2"),
                half_a_checkpoint,
            )
        case "writing-the-best":
            on_call(
                monkeypatch,
                tf.train.Checkpoint,
                "write",
                lambda _, p: p.endswith("best-3"),
                half_a_checkpoint,
            )
        case "writing-the-state":
            on_call(
                monkeypatch,
                trainer.checkpoints,
                "write_text",
                lambda _, text: json.loads(text)["epoch"] == 2,
            )
        case "removing-the-old":
            on_call(monkeypatch, tf.io.gfile, "remove", lambda path: "epoch-1.index" in path)
        case "exporting":
            on_call(monkeypatch, trainer.training, "export_model", lambda *_: True)
        case "cleaning-up":
            on_call(monkeypatch, Checkpoints, "discard", lambda *_: True)


KILLED_TASK = task_of(
    recipe_changes={"attack_steps": 2, "ramp": 0.7}, weight_averaging=0.8, schedule="cyclic"
)
"""With everything that a restart must find again: step count, radius, moving averages, course of
the rate."""


@pytest.fixture(scope="module")
def undisturbed(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> np.ndarray:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer.training, "export_model", write_weights)
        patch.setattr(
            Validator,
            "measure",
            lambda self, weights: self.network.set_weights(weights) or MEDIOCRE,
        )
        run_trainer(small_world, folder, KILLED_TASK)
    return exported(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "epochs_kept"),
    [
        ("in-an-epoch", 2),
        ("writing-an-epoch", 1),
        ("writing-the-best", 2),
        ("writing-the-state", 1),
        ("removing-the-old", 2),
        ("exporting", EPOCHS),
        ("cleaning-up", EPOCHS),
    ],
)
def test_a_killed_training_ends_as_if_undisturbed(
    small_world: SimpleNamespace,
    undisturbed: np.ndarray,
    messages: list[str],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    epochs_kept: int,
) -> None:
    """And the bar goes on where it was."""
    kill_at(moment, monkeypatch)
    with pytest.raises(Killed):
        run_trainer(small_world, tmp_path, KILLED_TASK)
    messages.clear()
    caplog.clear()
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path, KILLED_TASK)
    assert messages[0].endswith(f"going on after epoch {epochs_kept}")
    shown = [record.progress for record in caplog.records if hasattr(record, "progress")]
    if epochs_kept < EPOCHS:
        assert shown[0] == (epochs_kept * STEPS + 1, EPOCHS * STEPS)
    else:
        assert not shown
    np.testing.assert_allclose(exported(tmp_path), undisturbed, rtol=0, atol=1e-6)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_another_task_does_not_go_on_from_there(
    small_world: SimpleNamespace,
    messages: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kill_at("exporting", monkeypatch)
    task = task_of("undefended", epochs=1)
    with pytest.raises(Killed):
        run_trainer(small_world, tmp_path, task)
    messages.clear()
    run_trainer(small_world, tmp_path, task | {"seed": 7})
    assert messages[0].endswith("from the start")


@pytest.mark.slow
def test_sigkill_in_training(
    small_world: SimpleNamespace, undisturbed: np.ndarray, messages: list[str], tmp_path: Path
) -> None:
    """The real signal, in a process of its own."""
    code = """
import json, os, signal, sys
from types import SimpleNamespace
from trainer.validation import Scores, Validator
from trainer.progress import LogProgress
from trainer.train import run_fn

def measure(self, weights):
    self.network.set_weights(weights)
    return Scores(0.5, 0.5, float("nan"))

def on_epoch_begin(self, epoch, logs=None):
    if epoch == 2:
        os.kill(os.getpid(), signal.SIGKILL)

Validator.measure, LogProgress.on_epoch_begin = measure, on_epoch_begin
run_fn(SimpleNamespace(**json.load(sys.stdin)))
"""
    arguments = json.dumps(trainer_arguments(small_world, tmp_path, KILLED_TASK))
    done = subprocess.run(
        [sys.executable, "-c", code], input=arguments, text=True, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
    run_trainer(small_world, tmp_path, KILLED_TASK)
    assert messages[0].endswith("going on after epoch 2")
    np.testing.assert_allclose(exported(tmp_path), undisturbed, rtol=0, atol=1e-6)


def damage_state(folder: Path) -> None:
    (folder / "state.json").write_text("{")


def lose_the_epoch(folder: Path) -> None:
    for file in folder.glob("epoch-1.*"):
        file.unlink()


def cut_the_epoch(folder: Path) -> None:
    (data,) = folder.glob("epoch-1.data*")
    data.write_bytes(data.read_bytes()[:100])


@pytest.mark.parametrize("damage", [damage_state, lose_the_epoch, cut_the_epoch])
def test_a_damaged_checkpoint_is_an_error_that_loses_nothing(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    network = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2)])
    optimizer = tf_keras.optimizers.Adam()
    optimizer.build(network.trainable_variables)
    checkpoints = Checkpoints(str(tmp_path / "c"), network, optimizer, network)
    assert checkpoints.restore() == Progress()
    saved = Progress().after({"loss": 1.0}, score=0.25, selected=True)
    assert saved == Progress(epoch=1, best_epoch=1, best_score=0.25, history=({"loss": 1.0},))
    checkpoints.save(saved)
    assert checkpoints.restore() == saved
    damage(tmp_path / "c")
    left = sorted((tmp_path / "c").iterdir())
    with pytest.raises(
        RunError,
        match=r"cannot be read: .*; bring it back, or remove the folder .*/c to train from",
    ):
        checkpoints.restore()
    assert sorted((tmp_path / "c").iterdir()) == left


def test_of_equals_the_later_epoch_is_the_best_of_those_that_may_be() -> None:
    progress, best = Progress(), []
    for score, selected in ((0.9, False), (0.3, True), (0.6, True), (0.5, True), (0.6, True)):
        progress = progress.after({"loss": 1.0}, score, selected)
        best.append((progress.best_epoch, progress.best_score))
    assert best == [(0, None), (2, 0.3), (3, 0.6), (3, 0.6), (5, 0.6)]
    assert progress.epoch == len(progress.history) == 5


def test_the_state_is_valid_json_before_there_is_a_best_epoch(tmp_path: Path) -> None:
    network = tf_keras.Sequential([tf_keras.Input((3,)), tf_keras.layers.Dense(2)])
    checkpoints = Checkpoints(str(tmp_path / "c"), network, tf_keras.optimizers.Adam(), network)
    checkpoints.save(Progress().after({"loss": 1.0}, score=0.5, selected=False))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads((tmp_path / "c/state.json").read_text(), parse_constant=refuse)
    assert checkpoints.restore().best_epoch == 0
