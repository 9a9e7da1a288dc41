"""The search over hyper-parameters: what is searched, what is chosen, and that it goes on where it
was killed."""

import itertools
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras_tuner as kt
import numpy as np
import pydantic
import pytest
from click.testing import CliRunner
from small_world import trainer_arguments, training_task
from tfx.types.standard_artifacts import Examples, HyperParameters, TransformGraph, TunerResults

from components.tuner import Executor, read_trials
from foundation.errors import ConfigError
from gauntlet.cli import main
from pipeline.definition.config import override
from pipeline.definition.presets import preset
from pipeline.report.summary import on_front
from trainer.config import TrainingTask, TunerConfig
from trainer.recipe_config import RECIPES
from trainer.training import Training
from trainer.tuning import SPACE, score, search_space, tuned, tuning_task, with_values


def task_of(recipe: str, **changes: object) -> TrainingTask:
    return pydantic.TypeAdapter(TrainingTask).validate_python(
        training_task(recipe, **changes) | {"checkpoints": ""}
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_space_of_a_recipe_is_what_it_uses(recipe: str) -> None:
    """Its defaults are the present values, every corner of it is a valid task, and the recipe has
    each setting."""
    task = task_of(recipe)
    space = search_space(task)
    names = [dimension.setting for dimension in SPACE[RECIPES[recipe]]]
    assert list(space.values) == [*names, "trainer.learning_rate"]
    assert with_values(task, space.values) == task
    ends = [(hp.min_value, hp.max_value) for hp in space.space]
    for corner in itertools.product(*ends):
        assert with_values(task, dict(zip(space.values, corner, strict=True))) != task
    rate = next(hp for hp in space.space if hp.name == "trainer.learning_rate")
    assert (rate.min_value, rate.max_value) == pytest.approx((0.0025, 0.04))


def test_a_range_is_widened_to_hold_the_present_value() -> None:
    task = with_values(task_of("mtl-ibp"), {"recipe.epsilon_factor": 2.0})
    factor = search_space(task).space[0]
    assert (factor.min_value, factor.max_value, factor.default) == (1.0, 2.0, 2.0)


def test_values_reach_recipe_and_trainer() -> None:
    values = {"recipe.beta": 2.5, "trainer.learning_rate": 0.5}
    hyperparameters = kt.HyperParameters()
    for name, value in values.items():
        hyperparameters.Fixed(name, value)
    task = tuned(task_of("trades"), hyperparameters.get_config())
    assert (task.recipe.beta, task.config.learning_rate) == (2.5, 0.5)
    assert tuned(task, None) is task


def test_no_trial_below_the_floor_beats_one_above_it() -> None:
    trials = {
        "weak": {"clean": 0.99, "adversarial": 0.0},
        "good": {"clean": 0.981, "adversarial": 0.9},
        "robust": {"clean": 0.97, "adversarial": 0.95},
        "useless": {"clean": 0.1, "adversarial": 0.1},
    }
    ranked = sorted(trials, key=lambda name: -score(trials[name], clean_floor=0.98))
    assert ranked == ["good", "weak", "robust", "useless"]
    assert score(trials["good"], 0.98) == 0.9


def test_the_front_against_its_definition() -> None:
    points = np.random.default_rng(0).integers(0, 5, (60, 3)) / 5
    expected = [not any(np.all(q >= p) and np.any(q > p) for q in points) for p in points]
    assert on_front(points.tolist()).tolist() == expected
    assert 0 < sum(expected) < len(points)


def search(
    small_world: SimpleNamespace, folder: Path, trials: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Run the executor as TFX would; returns the trials and the best hyper-parameters."""
    task = tuning_task(task_of("fast"), TunerConfig(trials=trials, epochs=2, clean_floor=0.5))
    config = json.loads(pydantic.TypeAdapter(type(task)).dump_json(task))
    config["training"]["checkpoints"] = str(folder / "checkpoints")
    examples, graph, best, results = Examples(), TransformGraph(), HyperParameters(), TunerResults()
    examples.uri, graph.uri = small_world.examples, small_world.transform
    examples.split_names = '["train", "validation", "test"]'
    best.uri, results.uri = str(folder / "best"), str(folder / "results")
    properties = {
        "tuner_fn": "trainer.tuning.tuner_fn",
        "train_args": '{"splits": ["train"]}',
        "eval_args": '{"splits": ["validation"]}',
        "custom_config": json.dumps(config),
    }
    context = Executor.Context(tmp_dir=str(folder / "tmp"), unique_id="1")
    inputs = {"examples": [examples], "transform_graph": [graph]}
    Executor(context).Do(
        inputs, {"best_hyperparameters": [best], "tuner_results": [results]}, properties
    )
    return read_trials(results.uri), json.loads(
        (folder / "best" / "best_hyperparameters.txt").read_text()
    )


@pytest.mark.slow
def test_a_search_keeps_all_trials_and_hands_on_the_best(
    small_world: SimpleNamespace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    with caplog.at_level(logging.INFO, "gauntlet"):
        trials, best = search(small_world, tmp_path, 3)
    assert [trial["score"] for trial in trials] == sorted(
        (t["score"] for t in trials), reverse=True
    )
    assert best["values"] == trials[0]["values"]
    assert {"recipe.epsilon_factor": 1.0, "trainer.learning_rate": 0.01} in [
        trial["values"] for trial in trials
    ]
    assert len({json.dumps(trial["values"]) for trial in trials}) == 3
    for trial in trials:
        assert 0 <= trial["certified"] <= trial["adversarial"] <= trial["clean"] <= 1
    for number in (1, 2, 3):
        assert f"trial {number} of 3: recipe.epsilon_factor=" in caplog.text

    request.getfixturevalue("measured")  # the rest is not about accuracy
    arguments = trainer_arguments(small_world, tmp_path / "model", training_task("fast")) | {
        "hyperparameters": best
    }
    from trainer.train import run_fn

    run_fn(SimpleNamespace(**arguments))
    settings = json.loads(
        (tmp_path / "model/Format-Serving/assets.extra/settings.json").read_text()
    )
    assert settings["recipe"]["epsilon_factor"] == trials[0]["values"]["recipe.epsilon_factor"]
    assert settings["config"]["learning_rate"] == trials[0]["values"]["trainer.learning_rate"]


@pytest.mark.slow
@pytest.mark.usefixtures("measured")
def test_a_killed_search_goes_on_in_the_trial_where_it_was(
    small_world: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Killed(BaseException):
        pass

    runs: list[str] = []
    original = Training.run

    def run(self: Training, logs: str) -> Any:
        runs.append(Path(logs).name)
        if len(runs) == 2:
            raise Killed
        return original(self, logs)

    monkeypatch.setattr(Training, "run", run)
    with pytest.raises(Killed):
        search(small_world, tmp_path, 3)
    trials, _ = search(small_world, tmp_path, 3)
    assert len(trials) == 3
    assert len(runs) == 4, "the first trial is not repeated, the second is"
    assert runs[1] == runs[2]


def test_trials_of_multi_worker_training_run_on_one_device() -> None:
    task = tuning_task(
        task_of("fast", strategy="multi_worker", workers=2),
        TunerConfig(trials=3, epochs=2, clean_floor=0.9),
    )
    assert (task.training.config.strategy, task.training.config.workers) == ("one_device", 1)
    assert (task.training.config.epochs, task.trials) == (2, 3)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("tuner.trials=-1", "tuner.trials is at least 0, got -1"),
        ("tuner.clean_floor=98", r"tuner.clean_floor is a fraction in \[0, 1\], got 98"),
    ],
)
def test_wrong_settings_are_named(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        override(preset("smoke"), [assignment])


@pytest.mark.parametrize("trials", ["0", "-2", "many"])
def test_tune_takes_a_number_of_trials(trials: str) -> None:
    done = CliRunner().invoke(main, ["run", "--tune", trials])
    assert done.exit_code == 2
    assert "--tune" in done.stderr
