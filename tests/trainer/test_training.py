"""A training: what it is measured by, what it answers overfitting with, what it exports."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
import tf_keras
from replicas import flat
from small_training import task_of, training_of
from small_world import run_trainer, training_task

import trainer.recipes
import trainer.training
from foundation.errors import ConfigError
from trainer.checkpoints import Progress
from trainer.training import MOST_ATTACK_STEPS, Training
from trainer.validation import Scores, Validator
from trainer.watch import Watch


def test_metrics_of_every_epoch_reach_tensorboard(small_models: dict[str, str]) -> None:
    epochs: dict[str, list[int]] = {}
    for file in Path(small_models["robust"], "logs", "validation").glob("events.out.tfevents.*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                epochs.setdefault(value.tag, []).append(event.step)
    for name in ("clean", "adversarial", "certified"):
        assert epochs[f"epoch_{name}"] == list(range(6))


def test_same_seed_same_weights(
    small_world: SimpleNamespace,
    small_models: dict[str, str],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    second = run_trainer(small_world, tmp_path / "second", training_task("tutorial"))
    first, again = (
        tf_keras.models.load_model(f"{folder}/Format-Serving", compile=False).get_weights()
        for folder in (small_models["robust"], second)
    )
    for a, b in zip(first, again, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    request.getfixturevalue("measured")
    other = training_of(training_task("tutorial") | {"seed": 1}, tmp_path / "other")
    other.run(str(tmp_path / "logs"))
    assert any(
        np.abs(a - b).max() > 0.01 for a, b in zip(first, other.trained.get_weights(), strict=True)
    )


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
    [
        ("pgd", {}, [(0.3, 0), (0.6, 0), (0.5, 0)], 2),
        ("pgd", {}, [(0.3, 0), (0.6, 0), (0.6, 0)], 3),
        ("mtl-ibp", {}, [(0.6, 0.1), (0.6, 0.3), (0.7, 0.1)], 2),
        ("pgd", {"ramp": 0.9}, [(0.9, 0), (0.9, 0), (0.75, 0)], 3),
        ("undefended", {}, [(0.3, 0), (0.6, 0), (0.5, 0)], 3),
    ],
    ids=[
        "under-attack",
        "of-equals-the-later",
        "and-proven",
        "not-before-the-full-radius",
        "undefended-as-it-is",
    ],
)
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


@pytest.mark.usefixtures("measured")
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


def test_a_worker_that_is_not_the_chief_leaves_an_empty_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TFX looks for one; where it is the chief's, nothing is written into it."""
    monkeypatch.setattr(trainer.training, "is_chief", lambda strategy: False)
    training = training_of(training_task("undefended"), tmp_path / "c")
    training.export(Mock(spec=tft.TFTransformOutput), str(tmp_path / "own"), Progress())
    assert list((tmp_path / "own").iterdir()) == []
