"""Follows a run until it ends, whatever the network does meanwhile.

Each change of a task's state is a record of `foundation.events`, so that the command line draws it
as it draws a local run.
"""

import logging
import time
from dataclasses import dataclass

from gauntlet_kubeflow.clients.run import (
    LostConnection,
    Platform,
    Progress,
    RunState,
    Submitted,
    Task,
    TaskState,
)

from foundation.errors import GauntletError, RunError
from foundation.events import Fields, State

log = logging.getLogger("gauntlet.kubeflow")

EVENTS: dict[TaskState, State] = {
    TaskState.RUNNING: "started",
    TaskState.DONE: "finished",
    TaskState.CACHED: "cached",
    TaskState.FAILED: "failed",
}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds: between two questions, between the first two of a lost connection (each further one
    waits twice as long), at most between two, and after which a lost connection is given up."""

    poll: float = 10.0
    first_retry: float = 2.0
    longest_retry: float = 60.0
    give_up: float = 600.0


PACE = Pace()


def follow(platform: Platform, run: Submitted, timeout: float | None = None) -> Progress:
    """Wait for the end of a run; returns how it ended.

    Args:
        platform: service on which it runs.
        run: run to follow.
        timeout: seconds to wait; None for as long as it takes.

    Raises:
        RunError: the time is over, or the platform could not be asked; the run may go on.
    """
    deadline = time.monotonic() + timeout if timeout is not None else float("inf")
    states: dict[str, TaskState] = {}
    while True:
        progress = _asked(platform, run, deadline)
        for task in progress.tasks:
            if task.state in EVENTS and states.get(task.name) is not task.state:
                _tell(task, begun=task.name in states)
                states[task.name] = task.state
        if progress.state is not RunState.RUNNING:
            return progress
        left = deadline - time.monotonic()
        if left <= 0:
            raise RunError(f"the run is not over after {timeout:g} s; {goes_on(run)}")
        time.sleep(min(PACE.poll, left))


def goes_on(run: Submitted) -> str:
    """What becomes of a run that nobody follows any more, as the end of a sentence."""
    return f"run {run.run_id} itself may go on: follow or cancel it at {run.url}"


def _asked(platform: Platform, run: Submitted, deadline: float) -> Progress:
    """The answer of the platform, for which it is asked again where the connection is lost."""
    give_up = min(time.monotonic() + PACE.give_up, deadline)
    delay, said = PACE.first_retry, False
    while True:
        try:
            return platform.progress(run)
        except LostConnection as error:
            left = give_up - time.monotonic()
            if left <= 0:
                raise RunError(f"{error}; {goes_on(run)}") from error
            if not said:
                log.warning("%s; trying again for at most %.0f s", error, left)
                said = True
            time.sleep(min(delay, left))
            delay = min(2 * delay, PACE.longest_retry)
        except GauntletError as error:
            raise RunError(f"{error}; {goes_on(run)}") from error


def _tell(task: Task, begun: bool) -> None:
    """Log a change; who draws it must have seen the beginning of what ends."""
    if not begun and task.state is not TaskState.RUNNING:
        _tell(Task(name=task.name, state=TaskState.RUNNING), begun=True)
    fields = Fields(node=task.name, state=EVENTS[task.state], seconds=task.seconds)
    log.info("%s %s", task.name, task.state, extra=fields)
