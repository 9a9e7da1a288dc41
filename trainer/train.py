"""`run_fn`: what both Trainer nodes run. It trains one model by one recipe and exports it."""

import dataclasses
import hashlib
import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pydantic
import tensorflow_transform as tft

from trainer.config import TrainingTask
from trainer.dataset import load_split
from trainer.strategy import make_strategy, told_of_lost_workers
from trainer.training import Training
from trainer.workers import hide_gpus_of_others, launch_workers, wants_workers

if TYPE_CHECKING:  # TFX takes seconds to import, and a worker needs nothing else of it
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: "FnArgs") -> None:
    """Train and export, called by TFX.

    Args:
        fn_args: `custom_config` holds a `TrainingTask` as a dictionary; the model goes to
            `serving_model_dir`, the TensorBoard logs to `model_run_dir`. `base_model`, where it is
            given, is a model to begin with, and `hyperparameters` what the Tuner has found.

    Raises:
        RunError: training diverged, a worker died, or its checkpoints cannot be read.
        ConfigError: settings that do not fit the data, the network or the devices.
    """
    task = pydantic.TypeAdapter(TrainingTask).validate_python(fn_args.custom_config)
    if wants_workers(task.config):
        launch_workers("trainer.train:run_worker", fn_args, task.config.workers)
        return
    if fn_args.hyperparameters:
        from trainer.tuning import tuned  # KerasTuner takes seconds to import

        task = tuned(task, fn_args.hyperparameters)
    strategy = make_strategy(task.config)
    transform = tft.TFTransformOutput(fn_args.transform_graph_path)
    train, validation = (
        load_split(files, transform) for files in (fn_args.train_files, fn_args.eval_files)
    )
    training = Training(task, strategy, train, validation, checkpoints_of(task, fn_args))
    if fn_args.base_model:
        training.begin_with(fn_args.base_model)
    with told_of_lost_workers():
        progress = training.run(fn_args.model_run_dir)
        training.export(transform, fn_args.serving_model_dir, progress)


def run_worker(fn_args: SimpleNamespace) -> None:
    """`run_fn` as one of several processes on this machine, which `trainer.workers` has started."""
    hide_gpus_of_others()
    run_fn(fn_args)


def checkpoints_of(task: TrainingTask, fn_args: "FnArgs") -> str:
    """The folder of this very training: the same task, data and beginning."""
    data = [sorted(fn_args.train_files), sorted(fn_args.eval_files), fn_args.transform_graph_path]
    what = json.dumps(
        [dataclasses.asdict(task), data, fn_args.base_model], sort_keys=True, allow_nan=False
    )
    return os.path.join(task.checkpoints, hashlib.sha256(what.encode()).hexdigest()[:16])
