"""Training that survives: kills, damaged checkpoints, divergence, overfitting; and what is exported
in the end."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pydantic
import pytest
import tensorflow as tf
import tf_keras
from replicas import flat
from small_world import run_trainer, small_images, trainer_arguments, training_task

import trainer.recipes
import trainer.training
from foundation.errors import ConfigError, RunError
from trainer.checkpoints import Checkpoints, Progress
from trainer.config import Schedule, TrainingTask
from trainer.progress import LogProgress
from trainer.schedules import LearningRate, ramp
from trainer.training import MOST_ATTACK_STEPS, Training
from trainer.validation import Scores, Validator
from trainer.watch import Watch

EPOCHS, STEPS = 4, 6
MEDIOCRE = Scores(0.5, 0.5, float("nan"))


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> list[list[np.ndarray]]:
    """The weights of every validation, in which nothing is attacked: that takes most of a small
    training's time."""
    measured: list[list[np.ndarray]] = []

    def measure(self: Validator, weights: list[np.ndarray]) -> Scores:
        self.network.set_weights(weights)
        measured.append(weights)
        return MEDIOCRE

    monkeypatch.setattr(Validator, "measure", measure)
    return measured


@pytest.fixture
def messages() -> Iterator[list[str]]:
    """What the trainer logs."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("gauntlet.trainer")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield found
    logger.removeHandler(handler)


def task_of(
    recipe: str = "pgd", recipe_changes: dict[str, object] | None = None, **changes: object
) -> dict[str, Any]:
    return training_task(recipe, recipe_changes, **({"epochs": EPOCHS} | changes))


def training_of(task: dict[str, Any], folder: Path) -> Training:
    """A training of 96 images, without files."""
    images, labels = small_images(STEPS * 16, seed=0)
    split = {"image": images / np.float32(255), "label": labels}
    settings = pydantic.TypeAdapter(TrainingTask).validate_python(task | {"checkpoints": ""})
    return Training(settings, tf.distribute.get_strategy(), split, split, str(folder))


def exported(folder: Path) -> np.ndarray:
    return flat(tf_keras.models.load_model(folder / "Format-Serving", compile=False).get_weights())


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
                lambda self, batch, *_: self._done == 2 * STEPS + 3,
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
                tf.io.gfile,
                "rename",
                lambda new, _: json.loads(Path(new).read_text())["epoch"] == 2,
            )
        case "removing-the-old":
            on_call(monkeypatch, tf.io.gfile, "remove", lambda path: "epoch-1.index" in path)
        case "exporting":
            on_call(monkeypatch, trainer.training, "export_model", lambda *_: True)
        case "cleaning-up":
            on_call(monkeypatch, Checkpoints, "discard", lambda *_: True)


@pytest.fixture(scope="module")
def undisturbed(
    small_world: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory
) -> np.ndarray:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Validator,
            "measure",
            lambda self, weights: self.network.set_weights(weights) or MEDIOCRE,
        )
        run_trainer(small_world, folder, KILLED_TASK)
    return exported(folder)


KILLED_TASK = task_of(
    recipe_changes={"attack_steps": 2, "ramp": 0.7}, weight_averaging=0.8, schedule="cyclic"
)
"""With everything that a restart must find again: step count, radius, moving averages, course of
the rate."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "epochs_kept"),
    [("in-an-epoch", 2), ("writing-an-epoch", 1), ("writing-the-best", 2), ("writing-the-state", 1),
     ("removing-the-old", 2), ("exporting", EPOCHS), ("cleaning-up", EPOCHS)],
)  # fmt: skip
def test_a_killed_training_ends_as_if_undisturbed(
    small_world: SimpleNamespace,
    undisturbed: np.ndarray,
    messages: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
    epochs_kept: int,
) -> None:
    kill_at(moment, monkeypatch)
    with pytest.raises(Killed):
        run_trainer(small_world, tmp_path, KILLED_TASK)
    messages.clear()
    run_trainer(small_world, tmp_path, KILLED_TASK)
    assert messages[0].endswith(f"going on after epoch {epochs_kept}")
    np.testing.assert_allclose(exported(tmp_path), undisturbed, rtol=0, atol=1e-6)
    assert not list((tmp_path / "checkpoints").iterdir())


def test_the_bar_goes_on_where_it_was(
    small_world: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kill_at("writing-the-best", monkeypatch)
    with pytest.raises(Killed):
        run_trainer(small_world, tmp_path, KILLED_TASK)
    caplog.clear()
    with caplog.at_level(logging.INFO, "gauntlet"):
        run_trainer(small_world, tmp_path, KILLED_TASK)
    shown = [record.progress for record in caplog.records if hasattr(record, "progress")]
    assert shown[0] == (2 * STEPS + 1, EPOCHS * STEPS)


def test_another_task_does_not_go_on_from_there(
    small_world: SimpleNamespace,
    messages: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kill_at("writing-the-best", monkeypatch)
    with pytest.raises(Killed):
        run_trainer(small_world, tmp_path, KILLED_TASK)
    messages.clear()
    run_trainer(small_world, tmp_path, KILLED_TASK | {"seed": 7})
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
Validator.measure = lambda self, weights: self.network.set_weights(weights) or Scores(0.5, 0.5, float("nan"))
LogProgress.on_epoch_begin = lambda self, epoch, logs=None: epoch < 2 or os.kill(os.getpid(), signal.SIGKILL)
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
    saved = Progress(epoch=1, best_epoch=1, best_score=0.25, history=({"loss": 1.0},))
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


@pytest.mark.parametrize("recipe", ["undefended", "tutorial", "pgd"])
def test_divergence_ends_the_training(tmp_path: Path, recipe: str) -> None:
    with pytest.raises(
        RunError, match=r"training diverged: the loss of epoch 1 is .*lower trainer.learning_rate"
    ):
        training_of(task_of(recipe, learning_rate=1e6), tmp_path / "c").run(str(tmp_path / "logs"))


@pytest.mark.parametrize(
    ("loss", "diverged"), [(49.0, False), (51.0, True), (np.inf, True), (np.nan, True)]
)
def test_a_later_epoch_is_compared_with_the_first(loss: float, diverged: bool) -> None:
    watch = Watch(
        Mock(), Mock(), Progress(epoch=1, history=({"loss": 5.0},)),
        classes=10, first_selected=1, score=lambda scores: scores.adversarial, collapses=False,
    )  # fmt: skip
    with pytest.raises(RunError, match="epoch 2 is") if diverged else nullcontext():
        watch._check_loss(1, loss)


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    built = training_of(task_of(), tmp_path / "c")
    built._network.layers[-1].bias.assign([0.0, np.nan, 0.0])
    with pytest.raises(RunError, match="training diverged: the loss of epoch 1 is nan"):
        built.run(str(tmp_path / "logs"))
    assert not (tmp_path / "c").exists()


def test_overfitting_to_a_cheap_attack_is_answered_with_dearer_ones(
    tmp_path: Path,
    messages: list[str],
    measured: list[list[np.ndarray]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every epoch after the first looks overfitted: each time back to its begin, with twice the
    attack's steps, until there are enough."""
    attacked_with: list[int] = []
    begins: list[list[np.ndarray]] = []
    fit, neighbours, measure = Training._fit, trainer.recipes.neighbours, Validator.measure

    def scores(self: Validator, weights: list[np.ndarray]) -> Scores:
        measure(self, weights)
        return Scores(0.9, 0.7 if len(measured) == 1 else 0.1, float("nan"))

    def noted_fit(self: Training, *arguments: Any) -> Watch:
        begins.append(self._network.get_weights())
        return fit(self, *arguments)

    def noted_neighbours(*arguments: Any) -> tf.Tensor:  # called when the step is traced
        attacked_with.append(arguments[-1])
        return neighbours(*arguments)

    monkeypatch.setattr(Validator, "measure", scores)
    monkeypatch.setattr(Training, "_fit", noted_fit)
    monkeypatch.setattr(trainer.recipes, "neighbours", noted_neighbours)
    built = training_of(task_of("fast", epochs=3), tmp_path / "c")
    built.run(str(tmp_path / "logs"))
    assert list(dict.fromkeys(attacked_with)) == [1, 2, 4, MOST_ATTACK_STEPS]
    assert [m for m in messages if "going back" in m] == [
        f"going back to the end of epoch 1, and on with {steps} attack steps" for steps in (2, 4, 8)
    ]
    assert sum("fell from 70.0 % to 10.0 %" in m for m in messages) == 3
    for begin in begins[1:]:
        np.testing.assert_array_equal(flat(begin), flat(measured[0]))
    assert not np.allclose(flat(measured[1]), flat(measured[2]), atol=1e-4), (
        "another attack, other weights"
    )
    assert "the weights of epoch 1 are exported" in messages


@pytest.mark.parametrize(
    ("recipe", "changes", "scores", "best"),
    [("pgd", {}, [(0.3, 0), (0.6, 0), (0.5, 0)], 2), ("pgd", {}, [(0.3, 0), (0.6, 0), (0.6, 0)], 3),
     ("mtl-ibp", {}, [(0.6, 0.1), (0.6, 0.3), (0.7, 0.1)], 2),
     ("pgd", {"ramp": 0.9}, [(0.9, 0), (0.9, 0), (0.75, 0)], 3),
     ("undefended", {}, [(0.3, 0), (0.6, 0), (0.5, 0)], 3)],
    ids=["under-attack", "of-equals-the-later", "and-proven", "not-before-the-full-radius", "undefended-as-it-is"],
)  # fmt: skip
def test_the_best_epoch_is_exported(
    tmp_path: Path,
    measured: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    recipe: str,
    changes: Any,
    scores: Any,
    best: int,
) -> None:
    measure = Validator.measure

    def scored(self: Validator, weights: list[np.ndarray]) -> Scores:
        measure(self, weights)
        return Scores(0.9, *scores[len(measured) - 1])

    monkeypatch.setattr(Validator, "measure", scored)
    built = training_of(task_of(recipe, changes, epochs=3), tmp_path / "c")
    built.run(str(tmp_path / "logs"))
    np.testing.assert_array_equal(flat(built._exported.get_weights()), flat(measured[best - 1]))
    others = [flat(measured[i]) for i in range(3) if i != best - 1]
    assert all(np.abs(other - flat(measured[best - 1])).max() > 1e-4 for other in others)


def test_averaged_weights_are_the_moving_average_of_the_trajectory(
    tmp_path: Path, measured: list[list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trajectory: list[np.ndarray] = []
    noted = Watch.on_train_batch_end

    def on_train_batch_end(self: Watch, batch: int, logs: Any = None) -> None:
        noted(self, batch, logs)
        trajectory.append(flat(self.model.network.get_weights()))

    monkeypatch.setattr(Watch, "on_train_batch_end", on_train_batch_end)
    built = training_of(task_of(epochs=2, weight_averaging=0.7), tmp_path / "c")
    average = flat(built._network.get_weights())
    built.run(str(tmp_path / "logs"))
    for weights in trajectory:
        average = 0.7 * average + 0.3 * weights
    np.testing.assert_allclose(flat(built._exported.get_weights()), average, rtol=0, atol=1e-6)
    assert np.abs(average - trajectory[-1]).max() > 0.001


def test_a_warm_start_begins_with_the_blessed_weights_and_their_average(tmp_path: Path) -> None:
    blessed = tf_keras.models.clone_model(training_of(task_of(), tmp_path / "c")._exported)
    blessed.set_weights([weight + 1 for weight in blessed.get_weights()])
    blessed.save(tmp_path / "blessed", save_format="tf")
    built = training_of(task_of(epochs=1, learning_rate=1e-9, weight_averaging=0.9), tmp_path / "c")
    built.begin_with(str(tmp_path / "blessed"))
    built.run(str(tmp_path / "logs"))
    np.testing.assert_allclose(
        flat(built._exported.get_weights()), flat(blessed.get_weights()), atol=1e-5
    )


def test_a_warm_start_from_another_network_is_refused(tmp_path: Path) -> None:
    other = tf_keras.Sequential(
        [tf_keras.layers.Input((2, 2, 1)), tf_keras.layers.Flatten(), tf_keras.layers.Dense(9)]
    )
    other.save(tmp_path / "blessed", save_format="tf")
    with pytest.raises(
        ConfigError, match=r"trainer\.warm_start: the blessed model's weights have the shapes"
    ):
        training_of(task_of(), tmp_path / "c").begin_with(str(tmp_path / "blessed"))


def closed_form(schedule: Schedule, t: np.ndarray) -> np.ndarray:
    """Of the peak, at parts t of the training."""
    match schedule:
        case Schedule.CONSTANT:
            return np.ones_like(t)
        case Schedule.CYCLIC:
            return np.interp(t, [0, 0.4, 1], [0, 1, 0])
        case Schedule.DROPS:
            return np.select([t < 0.75, t < 0.9], [1, 1 / 5], 1 / 25)
        case Schedule.COSINE:
            return np.select(
                [t < 0.02, t < 0.5], [t / 0.02, 1], (1 + np.cos(2 * np.pi * (t - 0.5))) / 2
            )


@pytest.mark.parametrize("schedule", list(Schedule))
def test_the_rate_follows_its_schedule(schedule: Schedule) -> None:
    steps = np.arange(1001)
    rate = LearningRate(schedule, 0.01, 1000)
    np.testing.assert_allclose(
        [rate(tf.constant(s)) for s in steps], 0.01 * closed_form(schedule, steps / 1000), atol=1e-7
    )


def test_the_radius_grows_evenly_and_stays() -> None:
    np.testing.assert_allclose(
        [ramp(tf.constant(s), 40.0) for s in range(60)], np.minimum(np.arange(60) / 40, 1)
    )
    assert ramp(tf.constant(0), 0.0) == 1
