"""Training that is killed, diverges or overfits to its own attack; what it exports; its schedules."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from small_world import run_trainer, trainer_arguments, training_task

from robustness.errors import RunError
from trainer.checkpoints import STATE, Checkpoints, Progress
from trainer.config import Schedule
from trainer.schedules import LearningRate, ramp
from trainer.training import MOST_ATTACK_STEPS
from trainer.validation import Scores, Validator
from trainer.watch import Watch


def weights_of(folder: str | Path) -> list[np.ndarray]:
    return tf_keras.models.load_model(Path(folder) / "Format-Serving", compile=False).get_weights()


def plant_scores(monkeypatch: pytest.MonkeyPatch, scores: Callable[[int], Scores]) -> list[list[np.ndarray]]:
    """Have the validator report `scores(number of the call)`; returns the weights that it was asked about."""
    seen: list[list[np.ndarray]] = []

    def measure(self: Validator, weights: list[np.ndarray]) -> Scores:
        self.network.set_weights(weights)
        seen.append(weights)
        return scores(len(seen))

    monkeypatch.setattr(Validator, "measure", measure)
    return seen


class Killed(BaseException):
    """Ends a training as SIGKILL would, but not the test."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Die in the given call of a function, before it has done anything."""
    original, calls = getattr(owner, name), []

    def dying(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, dying)


@pytest.mark.parametrize(
    ("owner", "name", "call", "done"),
    [
        (Validator, "measure", 3, 2),
        (tf.train.Checkpoint, "write", 5, 2),  # an epoch and the best of it are two checkpoints
        (tf.train.Checkpoint, "write", 6, 2),
        (tf.io.gfile, "rename", 3, 2),
        (Checkpoints, "_remove_all_but", 3, 3),
        (Checkpoints, "restore_best", 1, 6),
    ],
    ids=["measuring", "saving", "saving-the-best", "renaming", "removing", "before-the-export"],
)
def test_a_killed_training_goes_on_after_its_last_epoch(
    small_world: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: Any,
    name: str,
    call: int,
    done: int,
) -> None:
    """And ends with the weights of one that was never killed, because steps, noise and schedules are the same."""
    plant_scores(monkeypatch, lambda call: Scores(1.0, 1.0, 1.0))
    task = training_task("fast", weight_averaging=0.5, schedule="cyclic")
    whole = weights_of(run_trainer(small_world, tmp_path / "whole", task))
    with monkeypatch.context() as patched:
        kill_at(patched, owner, name, call)
        with pytest.raises(Killed):
            run_trainer(small_world, tmp_path / "killed", task)
    with caplog.at_level(logging.INFO, "gauntlet"):
        folder = run_trainer(small_world, tmp_path / "killed", task)
    assert f"going on after epoch {done}" in caplog.text
    for a, b in zip(whole, weights_of(folder), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert not list((tmp_path / "killed" / "checkpoints").iterdir()), "the checkpoints are gone with the export"


@pytest.mark.slow
def test_sigkill(small_world: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A real process, killed at a moment that nobody chose."""
    task = training_task("fast", epochs=60)
    arguments = trainer_arguments(small_world, tmp_path, task)
    code = "import json, sys, types, trainer.train as t; t.run_fn(types.SimpleNamespace(**json.load(sys.stdin)))"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    while not list((tmp_path / "checkpoints").glob(f"*/{STATE}")):
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "Format-Serving").exists()
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path, task)
    assert "going on after epoch" in caplog.text
    assert (tmp_path / "Format-Serving" / "saved_model.pb").exists()


def test_another_task_does_not_go_on_from_it(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        kill_at(patched, Validator, "measure", 3)
        with pytest.raises(Killed):
            run_trainer(small_world, tmp_path, training_task("fast"))
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path, training_task("fast", learning_rate=0.02))
    assert "from the start" in caplog.text


@pytest.mark.parametrize("damage", ["state", "weights"])
def test_damaged_checkpoints_are_named(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    with monkeypatch.context() as patched:
        kill_at(patched, Validator, "measure", 3)
        with pytest.raises(Killed):
            run_trainer(small_world, tmp_path, training_task("fast"))
    (state,) = (tmp_path / "checkpoints").glob(f"*/{STATE}")
    if damage == "state":
        state.write_text("{")
    else:
        for file in state.parent.glob("epoch-*.index"):
            file.unlink()
    with pytest.raises(RunError, match=rf"the checkpoint {state.parent}/.* cannot be read.*to train from the start"):
        run_trainer(small_world, tmp_path, training_task("fast"))


def test_a_loss_that_is_no_number_stops_with_a_way_out(small_world: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"training diverged: the loss of epoch \d is nan.*lower trainer\.learning_rate"):
        run_trainer(small_world, tmp_path, training_task("fast", learning_rate=1e30))


@pytest.mark.parametrize(("loss", "stops"), [(22.0, False), (26.0, True)])
def test_a_growing_loss_stops(loss: float, stops: bool) -> None:
    """Ten times the first epoch's, or that of a network that knows nothing: 10 ln 3 = 11 and 10 * 2.5 = 25."""
    progress = Progress(epoch=1, history=({"loss": 2.5},))
    watch = Watch(None, None, progress, classes=3, first_selected=1, score=None, collapses=False)  # type: ignore[arg-type]
    if stops:
        with pytest.raises(RunError, match="the loss of epoch 2 is 26, expected at most 25"):
            watch._check_loss(1, loss)
    else:
        watch._check_loss(1, loss)


def test_overfitting_to_the_own_attack_takes_the_epoch_back(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Accuracy under attack falls in the third epoch: it is trained again, with twice the attack steps."""
    seen = plant_scores(monkeypatch, lambda call: Scores(1.0, 0.3 if call == 3 else 0.9, 0.0))
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path, training_task("fast"))
    assert "fell from 90.0 % to 30.0 %: the training overfits to its own attack" in caplog.text
    assert "going back to the end of epoch 2, and on with 2 attack steps" in caplog.text
    assert len(seen) == 7, "six epochs, one of them twice"
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(seen[2], seen[3], strict=True)), "another attack"


def test_an_attack_is_strengthened_up_to_a_limit(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plant_scores(monkeypatch, lambda call: Scores(1.0, 0.9 if call == 1 else 0.3, 0.0))
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path, training_task("fast"))
    assert [f"on with {n} attack steps" in caplog.text for n in (2, 4, 8, 16)] == [True, True, True, False]
    assert MOST_ATTACK_STEPS == 8


def test_the_best_epoch_is_exported(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By accuracy under attack; with a certified recipe also by what is proven, from the full radius on."""
    adversarial = [0.99, 0.5, 0.8, 0.7, 0.75, 0.7]
    certified = [0.99, 0.1, 0.2, 0.5, 0.3, 0.3]
    seen = plant_scores(monkeypatch, lambda call: Scores(1.0, adversarial[call - 1], certified[call - 1]))
    expected = {"undefended": 6, "tutorial": 6, "pgd": 1, "mtl-ibp": 4}
    for recipe, epoch in expected.items():
        seen.clear()
        changes = {"ramp": 0.3 if recipe == "mtl-ibp" else 0.0, "attack_steps": MOST_ATTACK_STEPS}
        folder = run_trainer(small_world, tmp_path / recipe, training_task(recipe, changes))
        for a, b in zip(weights_of(folder), seen[epoch - 1], strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_average_of_the_weights_is_exported(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step an epoch, so that the trajectory is seen: against NumPy's exponential average of it."""
    whole = {"batch_size": 96, "epochs": 5}
    plain = plant_scores(monkeypatch, lambda call: Scores(1.0, 1.0, 1.0))
    run_trainer(small_world, tmp_path / "plain", training_task("undefended", **whole))
    averaged = plant_scores(monkeypatch, lambda call: Scores(1.0, 1.0, 1.0))
    run_trainer(small_world, tmp_path / "averaged", training_task("undefended", weight_averaging=0.6, **whole))
    # The average begins at the first weights, which are not seen: w1 is enough to follow it from the first epoch.
    average = averaged[0]
    for weights, found in zip(plain[1:], averaged[1:], strict=True):
        average = [0.6 * a + 0.4 * w for a, w in zip(average, weights, strict=True)]
        for a, b in zip(average, found, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_metrics_of_every_epoch_reach_tensorboard(small_world: SimpleNamespace, tmp_path: Path) -> None:
    run_trainer(small_world, tmp_path, training_task("mtl-ibp"))
    found: dict[str, list[int]] = {}
    for file in (tmp_path / "logs" / "validation").glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    assert {f"epoch_{name}" for name in ("clean", "adversarial", "certified")} <= set(found)
    assert found["epoch_certified"] == list(range(6))


@pytest.mark.parametrize("schedule", list(Schedule))
def test_learning_rates_against_their_formulas(schedule: Schedule) -> None:
    rate = LearningRate(schedule, 0.4, 1000)
    steps = np.arange(0, 1000, 25)
    found = np.array([float(rate(tf.constant(step))) for step in steps]) / 0.4
    t = steps / 1000
    expected = {
        Schedule.CONSTANT: np.ones_like(t),
        Schedule.CYCLIC: np.interp(t, [0, 0.4, 1], [0, 1, 0]),
        Schedule.DROPS: 0.2 ** ((t >= 0.75).astype(int) + (t >= 0.9)),
        Schedule.COSINE: np.where(t < 0.5, np.minimum(1, t / 0.02), np.cos(np.pi * (t - 0.5)) ** 2),
    }[schedule]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_ramp_is_even() -> None:
    assert [float(ramp(tf.constant(step), 8.0)) for step in (0, 2, 8, 20)] == [0.0, 0.25, 1.0, 1.0]
    assert float(ramp(tf.constant(0), 0.0)) == 1.0


def test_progress_goes_on_where_it_was(
    small_world: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        kill_at(patched, Validator, "measure", 4)
        with pytest.raises(Killed):
            run_trainer(small_world, tmp_path, training_task("fast"))
    caplog.clear()
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path, training_task("fast"))
    shown = [record.progress for record in caplog.records if hasattr(record, "progress")]
    assert shown[0] == (19, 36)
