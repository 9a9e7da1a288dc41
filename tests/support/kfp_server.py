"""Kubeflow Pipelines' REST API, v2beta1, as far as a run needs it."""

from collections.abc import Callable, Iterable
from typing import Any

from compiled_files import TASKS
from loopback import Answer, Asked, Failure, Loopback, Reply

RUN = "3f0c6a52-9c1e-4b7e-8a53-0d3a1c9f7b11"
EXPERIMENT = "11111111-2222-4333-8444-555555555555"

NEVER = "0001-01-01T00:00:00Z"
START, END = "2026-11-27T08:00:00Z", "2026-11-27T08:01:30Z"


def node(name: str, number: int, state: str, children: Iterable[int] = ()) -> dict[str, Any]:
    """A node of Argo's workflow, as the service tells of it: names of children are ids of nodes,
    the name of a pod has its template before the same number."""
    ended = state in ("SUCCEEDED", "FAILED", "SKIPPED")
    return {
        "run_id": RUN,
        "task_id": f"task-{number}",
        "display_name": name,
        "create_time": START,
        "start_time": START,
        "end_time": END if ended else NEVER,
        "state": state,
        "pod_name": f"gauntlet-x7k2p-system-container-impl-{number}",
        "child_tasks": [{"pod_name": f"gauntlet-x7k2p-{child}"} for child in children],
    }


def nodes(*states: str) -> list[dict[str, Any]]:
    """The nodes of the tasks, each in a state; "" for one that has not begun, "CACHED" for one
    whose container was not needed."""
    made = [node("root", 1, "RUNNING"), node("root-driver", 2, "SUCCEEDED")]
    for index, (name, state) in enumerate(zip(TASKS, states, strict=False)):
        if state:
            number = 10 * (index + 1)
            cached = state == "CACHED"
            made += [
                node(f"{name}-driver", number + 1, "SUCCEEDED"),
                node(name, number + 2, "SUCCEEDED" if cached else state, [number + 3]),
                node("executor", number + 3, "SKIPPED" if cached else state),
            ]
    return made


def run(state: str, *states: str, details: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """A run, with its tasks each in a state."""
    told = details if details is not None else nodes(*states)
    return {"run_id": RUN, "state": state, "run_details": {"task_details": told}}


def kfp(
    *script: Reply,
    create: Reply | None = None,
    experiments: Reply | None = None,
    check: Callable[[Asked], Reply | None] = lambda asked: None,
) -> Loopback:
    """A server whose run goes through the script, one step a question, and stays at the last.

    Args:
        script: what it says of the run.
        create: answer to the creation of the run, where it is not accepted.
        experiments: answer to the search for the experiment; by default it is there.
        check: answer before all others, or None.
    """
    steps = list(script)

    def reply(asked: Asked) -> Reply:
        if (first := check(asked)) is not None:
            return first
        match asked.method, asked.path:
            case "GET", "/apis/v2beta1/experiments":
                there = {"experiments": [{"experiment_id": EXPERIMENT, "display_name": "Default"}]}
                return there if experiments is None else experiments
            case "POST", "/apis/v2beta1/experiments":
                return {"experiment_id": EXPERIMENT, **asked.body}
            case "POST", "/apis/v2beta1/runs":
                return {"run_id": RUN, "state": "PENDING"} if create is None else create
            case "GET", path if path == f"/apis/v2beta1/runs/{RUN}":
                return steps.pop(0) if len(steps) > 1 else steps[0]
        return Answer(status=404, body={"error": f"no {asked.method} {asked.path}", "code": 5})

    return Loopback(reply)


__all__ = ["Failure", "kfp", "node", "nodes", "run"]
