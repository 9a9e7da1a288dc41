"""`tuner_fn`: what the Tuner node runs. It searches the hyper-parameters of a recipe on the
validation split.

The search is KerasTuner's. A robust model is a compromise, so every trial keeps its clean,
adversarial and certified accuracy; the trial that is chosen has the best accuracy under attack of
those whose clean accuracy reaches a floor.
"""

import dataclasses
import hashlib
import json
import logging
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import keras_tuner as kt
import pydantic
import tensorflow_transform as tft
from keras_tuner.oracles import BayesianOptimizationOracle
from tfx.components.tuner.component import TunerFnResult

from trainer.config import StrategyName, TrainingTask, TunerConfig, TuningTask
from trainer.dataset import load_split
from trainer.recipe_config import (
    FastConfig,
    MtlIbpConfig,
    NamedRecipe,
    PgdConfig,
    SabrConfig,
    TradesConfig,
    TutorialConfig,
    UndefendedConfig,
)
from trainer.strategy import make_strategy
from trainer.training import Training

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

log = logging.getLogger("gauntlet.tuner")

Values = dict[str, float]
"""Values of a trial by setting."""

SCORES = ("clean", "adversarial", "certified")
"""What is measured of a trial: shares of the validation split."""


@dataclass(frozen=True)
class Dimension:
    """One hyper-parameter and where it is searched.

    setting: its name for `--set`. low, high: range. log: whether orders of magnitude are equally
    likely, and not values.
    """

    setting: str
    low: float
    high: float
    log: bool = False


FACTOR = Dimension("recipe.epsilon_factor", 1.0, 1.35)
SPACE: dict[type[NamedRecipe], tuple[Dimension, ...]] = {
    UndefendedConfig: (),
    TutorialConfig: (
        Dimension("recipe.multiplier", 0.05, 5.0, log=True),
        Dimension("recipe.step_size", 0.05, 0.5, log=True),
    ),
    FastConfig: (FACTOR,),
    PgdConfig: (FACTOR, Dimension("recipe.attack_steps", 2, 10)),
    TradesConfig: (FACTOR, Dimension("recipe.beta", 1.0, 12.0, log=True)),
    MtlIbpConfig: (FACTOR, Dimension("recipe.bound_share", 0.01, 0.9, log=True)),
    SabrConfig: (FACTOR, Dimension("recipe.box", 0.05, 1.0, log=True)),
}
"""What is searched for each recipe, beside the learning rate."""


def tuner_fn(fn_args: "FnArgs") -> TunerFnResult:
    """What TFX's Tuner asks for.

    Args:
        fn_args: `custom_config` holds a `TuningTask` as a dictionary; the rest is as for
            `trainer.train.run_fn`.
    """
    task = pydantic.TypeAdapter(TuningTask).validate_python(fn_args.custom_config)
    data = [sorted(fn_args.train_files), sorted(fn_args.eval_files), fn_args.transform_graph_path]
    what = json.dumps([dataclasses.asdict(task), data], sort_keys=True, allow_nan=False)
    folder = os.path.join(
        task.training.checkpoints, "tuning-" + hashlib.sha256(what.encode()).hexdigest()[:16]
    )
    return TunerFnResult(tuner=FrontSearch(task, folder), fit_kwargs={"fn_args": fn_args})


class FrontSearch(kt.engine.base_tuner.BaseTuner):
    """Trains a trial with the project's own training and keeps what it measured.

    A killed search goes on in the trial and the epoch where it was, because everything is in
    `folder`.
    """

    def __init__(self, task: TuningTask, folder: str) -> None:
        self._task, self._folder = task, folder
        oracle = PresentFirstOracle(
            objective=kt.Objective("score", "max"),
            max_trials=task.trials,
            hyperparameters=search_space(task.training),
            seed=task.training.seed % 2**31,
        )
        super().__init__(oracle, directory=folder, project_name="trials")

    def run_trial(self, trial: kt.engine.trial.Trial, fn_args: "FnArgs") -> dict[str, float]:
        """Train with the trial's values, for the tuner's number of epochs; returns the scores."""
        task = with_values(self._task.training, trial.hyperparameters.values)
        transform = tft.TFTransformOutput(fn_args.transform_graph_path)
        train, validation = (
            load_split(files, transform) for files in (fn_args.train_files, fn_args.eval_files)
        )
        folder = os.path.join(self._folder, f"training-{trial.trial_id}")
        number = len(self.oracle.trials)
        strategy, of_all = make_strategy(task.config), (number, self._task.trials)
        training = Training(task, strategy, train, validation, folder, of_all)
        progress = training.run(os.path.join(fn_args.working_dir, trial.trial_id))
        best = progress.history[progress.best_epoch - 1]
        scores = {name: best[f"val_{name}"] for name in SCORES if f"val_{name}" in best}
        log.info(
            "trial %d of %d: %s: "
            "%s", number, self._task.trials, _shown(trial.hyperparameters.values),
            ", ".join(f"{name} {share:.2%}" for name, share in scores.items()),
        )  # fmt: skip
        return {"score": score(scores, self._task.clean_floor)} | scores

    def load_model(self, trial: kt.engine.trial.Trial) -> NoReturn:
        """Required by KerasTuner; trials leave values and scores, no model."""
        raise NotImplementedError


class PresentFirstOracle(BayesianOptimizationOracle):
    """KerasTuner's Bayesian optimisation, whose first trial is the configuration as it is."""

    def populate_space(self, trial_id: str) -> dict[str, object]:
        if not self.end_order and not self.tried_anything:
            values = {hp.name: hp.default for hp in self.get_space().space}
            self._tried_so_far.add(self._compute_values_hash(values))
            return {"status": kt.engine.trial.TrialStatus.RUNNING, "values": values}
        return super().populate_space(trial_id)

    @property
    def tried_anything(self) -> bool:
        """Whether a trial has been handed out before."""
        return bool(self._tried_so_far)


def search_space(task: TrainingTask) -> kt.HyperParameters:
    """The dimensions of the task's recipe and the learning rate, with the present values as
    defaults.

    A range is widened to hold the present value.
    """
    rate = task.config.learning_rate
    space = kt.HyperParameters()
    for dimension in (
        *SPACE[type(task.recipe)],
        Dimension("trainer.learning_rate", rate / 4, rate * 4, log=True),
    ):
        present = _present(task, dimension.setting)
        low, high = min(dimension.low, present), max(dimension.high, present)
        if isinstance(present, int):
            space.Int(dimension.setting, int(low), int(high), default=present)
        else:
            space.Float(
                dimension.setting,
                low,
                high,
                sampling="log" if dimension.log else "linear",
                default=present,
            )
    return space


def with_values(task: TrainingTask, values: Values) -> TrainingTask:
    """The task with the settings of a trial; raises ConfigError for values that its configuration
    refuses."""
    sections: dict[str, dict[str, Any]] = {"recipe": {}, "trainer": {}}
    for name, value in values.items():
        section, _, key = name.partition(".")
        sections[section][key] = value
    recipe = dataclasses.replace(task.recipe, **sections["recipe"])
    config = dataclasses.replace(task.config, **sections["trainer"])
    return dataclasses.replace(task, recipe=recipe, config=config)


def tuned(task: TrainingTask, hyperparameters: dict[str, object] | None) -> TrainingTask:
    """The task with the values that TFX's Tuner has found, which come as KerasTuner's
    configuration."""
    if not hyperparameters:
        return task
    return with_values(task, kt.HyperParameters.from_config(hyperparameters).values)


def tuning_task(training: TrainingTask, tuner: TunerConfig) -> TuningTask:
    """What to search for the robust model: its training, for a third of the epochs where the tuner
    does not say how many, on one device where it would have workers."""
    config = training.config
    strategy = (
        StrategyName.ONE_DEVICE if config.strategy is StrategyName.MULTI_WORKER else config.strategy
    )
    epochs = tuner.epochs or math.ceil(config.epochs / 3)
    config = dataclasses.replace(
        config, epochs=epochs, strategy=strategy, workers=1, warm_start=False
    )
    return TuningTask(
        training=dataclasses.replace(training, config=config),
        trials=tuner.trials,
        clean_floor=tuner.clean_floor,
    )


def score(scores: dict[str, float], clean_floor: float) -> float:
    """What the search maximises: accuracy under attack. Below the floor of clean accuracy it is the
    clean accuracy minus 1, so that no such trial is above one that reaches the floor."""
    clean = scores["clean"]
    return scores["adversarial"] if clean >= clean_floor else clean - 1.0


def _present(task: TrainingTask, setting: str) -> float:
    section, _, name = setting.partition(".")
    present: float = getattr(task.recipe if section == "recipe" else task.config, name)
    return present


def _shown(values: Values) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in values.items())
