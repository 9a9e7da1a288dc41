"""A run on a platform, in words that no platform owns."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from gauntlet_kubeflow.clients.compiled import Compiled

from foundation.errors import RunError

NOT_RUN = -1
"""In place of an exit code."""

ParameterValues = Mapping[str, str | int | float | bool]


class LostConnection(RunError):
    """A platform does not answer, or answers that it cannot just now; a later attempt may help."""


class TaskState(StrEnum):
    """How far a task is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"


class RunState(StrEnum):
    """How far a run is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of a run.

    seconds: time that it took. log: command or address that shows its log; '' where unknown.
    error: what the platform says of its failure. code: exit code of its container, `NOT_RUN` where
        none has ended; None where the platform does not tell it.
    """

    name: str
    state: TaskState
    seconds: float = 0.0
    log: str = ""
    error: str = ""
    code: int | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A run at one moment. error: what the platform says of its failure."""

    state: RunState
    tasks: tuple[Task, ...] = ()
    error: str = ""

    @property
    def failed(self) -> tuple[Task, ...]:
        """The tasks that failed."""
        return tuple(task for task in self.tasks if task.state is TaskState.FAILED)


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A run that a platform has accepted. url: page on which a person follows and cancels it."""

    run_id: str
    url: str
    tasks: tuple[str, ...]


class Platform(Protocol):
    """A service that runs compiled pipelines."""

    def submit(self, compiled: Compiled, values: ParameterValues) -> Submitted:
        """Start a run.

        Args:
            compiled: pipeline for this platform.
            values: runtime parameters that differ from the compiled ones.

        Raises:
            ConfigError: credentials, rights or the address are wrong. LostConnection: no answer.
            RunError: the platform refused the pipeline.
        """
        ...

    def progress(self, run: Submitted) -> Progress:
        """How far a run is; raises what `submit` raises."""
        ...
