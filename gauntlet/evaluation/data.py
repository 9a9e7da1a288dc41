"""The data of an evaluation, prepared before any model is loaded; without TensorFlow."""

from dataclasses import dataclass

from components.datasets.prepare import prepare
from components.datasets.prepared import PreparedDataset
from foundation.events import phase
from gauntlet.evaluation.task import EvaluationTask


@dataclass(frozen=True)
class Order:
    """A task, and its data, which was prepared while everything could be written."""

    task: EvaluationTask
    prepared: PreparedDataset


def prepared_data(task: EvaluationTask) -> PreparedDataset:
    """The data set of a task, downloaded and stored where it is not yet.

    Raises:
        GauntletError: it cannot be used; the message says what to do.
    """
    with phase("data"):
        return prepare(task.dataset, str(task.data_dir) if task.data_dir else None, task.resize)
