"""TFX's Tuner, which also keeps what was measured of every trial, beside its own results."""

import json
import os
from typing import Any

from tfx.components.tuner.component import Tuner
from tfx.components.tuner.executor import Executor as TfxExecutor
from tfx.components.tuner.executor import search, write_best_hyperparameters
from tfx.dsl.components.base.executor_spec import ExecutorClassSpec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact

from foundation.json import dumps
from foundation.whole import write_text
from trainer.tuning import SCORES

TRIALS = "trials.json"


class Executor(TfxExecutor):
    """Searches, and writes `trials.json` into the artifact `tuner_results`."""

    def Do(
        self,
        input_dict: dict[str, list[Artifact]],
        output_dict: dict[str, list[Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Raises what the training of a trial raises."""
        tuner = search(input_dict, exec_properties, self._get_tmp_dir())
        write_best_hyperparameters(tuner, output_dict)
        trials = [
            {
                "trial": trial.trial_id,
                "values": trial.hyperparameters.values,
                "score": trial.score,
                **{name: measured(trial, name) for name in SCORES},
            }
            for trial in tuner.oracle.get_best_trials(tuner.oracle.max_trials)
        ]
        folder = artifact_utils.get_single_uri(output_dict["tuner_results"])
        write_text(os.path.join(folder, TRIALS), dumps(trials))


def measured(trial: Any, name: str) -> float | None:
    """The best value of a metric over the epochs of a trial; None where it was not measured."""
    return trial.metrics.get_best_value(name) if trial.metrics.exists(name) else None


class FrontTuner(Tuner):
    """TFX's Tuner with our executor."""

    EXECUTOR_SPEC = ExecutorClassSpec(Executor)


def read_trials(tuner_results: str) -> list[dict[str, Any]]:
    """All finished trials, the best first: `trial`, `values` by setting, `score`, and `clean`,
    `adversarial`, `certified` (None: no bound)."""
    with fileio.open(os.path.join(tuner_results, TRIALS)) as file:
        return list(json.load(file))
